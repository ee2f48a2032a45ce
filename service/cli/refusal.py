"""What a refused request says to a person: which field, what is wrong, and what to do about it from here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from service.cli.terminal import FAILED

if TYPE_CHECKING:
    import httpx

KEY_BEGINS = "trk_"
KEY_REFUSED, NOTHING_THERE = 401, frozenset({404, 405})


def refusal(reply: httpx.Response) -> tuple[str, int, Mapping[str, Any]]:
    """A refusal in lines: status, then the field or the code, then what is wrong and what to do."""
    try:
        problem = reply.json()
    except (ValueError, RecursionError):
        problem = None
    if not isinstance(problem, dict) or not (problem.get("code") or problem.get("detail")):
        text = _stranger(reply)
        return text, FAILED, {"status": reply.status_code, "detail": text}
    return "\n".join(lines(problem, reply.status_code)), FAILED, problem


def _stranger(reply: httpx.Response) -> str:
    """Something else answered, or something between us and a taskrelay."""
    if reply.has_redirect_location:
        there = reply.headers["location"][:200]
        return f"{reply.status_code} {reply.url} sends us on to {there}\n    If that is your taskrelay, say so: --url"
    return f"{reply.status_code} {reply.reason_phrase}  from {reply.url}, which may not be taskrelay. Check --url"


def lines(problem: Mapping[str, Any], status: int) -> list[str]:
    """`422 /input/duration  …` for each fault, or `409 reference_taken  …` when no field is at fault."""
    listed = problem.get("errors")
    faults = [fault for fault in (listed if isinstance(listed, list) else []) if isinstance(fault, dict)]
    if not faults:
        detail = problem.get("detail") or problem.get("title") or "it says no more"
        return indented(f"{status} {problem.get('code') or 'refused'}  {detail}")
    return [
        line
        for fault in faults
        for line in indented(
            f"{status} {fault.get('pointer') or problem.get('code') or 'refused'}  {fault.get('detail')}"
        )
    ]


def indented(text: str) -> list[str]:
    first, *more = text.splitlines() or [""]
    return [first, *(f"    {line.strip()}" for line in more)]


def advice(status: int, *, key: str, about: Mapping[str, Any] | None, version: str) -> str | None:
    """What to do about it from the command line. `about`: what the other side says it is, where that was asked."""
    if status == KEY_REFUSED:
        if not key:
            return "No key was given. Set TASKRELAY_KEY, or give --key"
        if not key.startswith(KEY_BEGINS):
            return f"The key given does not begin with {KEY_BEGINS}, as those of taskrelay do"
        return "Was the key that is given made there, and is it still in force?"
    if about is not None and about.get("name") != "taskrelay":
        return "What answers there does not call itself taskrelay. Check --url"
    if about is not None and about.get("version") != version:
        return f"That is taskrelay {about.get('version')}, and this command is {version}: use the same on both sides"
    return None


def unreachable(url: str, error: Exception, why: str) -> str:
    """Nobody took the request, so nothing was done."""
    text = str(error).lower()
    if "wrong_version_number" in text or "http_request" in text:
        return f"{url} does not speak TLS: {why}\n    Write http:// if it is meant to be plain"
    if "certificate" in text:
        return (
            f"{url} shows a certificate that is not trusted here: {why}\n"
            "    With an authority of your own: SSL_CERT_FILE=/path/to/ca.pem. Else: is that the right machine?"
        )
    return (
        f"{url} does not answer: {why}\n"
        "    Is it running? Start it with: taskrelay serve   or say where it is: --url or TASKRELAY_URL"
    )


def unanswered(url: str, method: str, why: str) -> str:
    """The request was taken, and what came of it is not known."""
    if method == "POST":
        return (
            f"{url} took the request and gave no answer: {why}\n    It may have been done. Look before you repeat it."
        )
    return f"{url} gave no answer: {why}"
