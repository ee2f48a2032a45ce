"""The way in: a probe is posted to our own callback door through PUBLIC_URL, as a provider would, and whoever answers is told apart.

The door answers a probe with what only this installation can say, over the body as it arrived; nothing is stored.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from service.cli.doctor import trying
from service.cli.doctor.finding import Finding, Grade, fine, note, wrong
from service.telemetry.redact import visible

if TYPE_CHECKING:
    import httpx

    from service.cli.doctor.store import Seen
    from service.core.tokens import Tokens
    from service.settings import Settings

ABOUT = "callbacks"
BODY_BYTES = 65_536  # more than a provider's longest push; a proxy that cuts it would cut those
AT_THE_DOOR = "There is nothing at this path."  # of a token that is none; beside the door, the API says more
KEEP_PATH = "proxy_pass http://127.0.0.1:8080;   (nginx: no path behind the port, so that it stays as it is)"
START = "taskrelay serve, then taskrelay doctor again"


async def look(settings: Settings, seen: Seen) -> list[Finding]:
    """Whether a push gets through, and how we take whoever stands in between; nothing where nobody could push anyway."""
    import httpx

    if settings.public_url is None:
        return []
    if seen.tokens is None:
        return [note(ABOUT, "not tried: whether it is we who answer needs our database and keys", START)]
    body = b'{"probe":"' + b"x" * (BODY_BYTES - 12) + b'"}'
    token = seen.tokens.probe(f"prb_{secrets.token_hex(16)}")
    url = f"{settings.public_url}/callbacks/{_provider(settings)}/{token}"
    began = time.monotonic()
    try:
        async with trying.client(url) as client:
            reply = await client.post(url, content=body, headers={"content-type": "application/json"})
    except httpx.HTTPError as error:
        text, tool = trying.why(error)
        found = wrong(ABOUT, f"{settings.public_url}: {text}", trying.look_with(tool, settings.public_url))
        return [_unless_stopped(found, seen, "refused" in text)]
    took = round((time.monotonic() - began) * 1000)
    found = _judge(reply, body, token, seen.tokens, settings.public_url, took)
    among = _document(reply) if found.grade is Grade.FINE else {}
    return [_unless_stopped(found, seen, reply.status_code in (502, 503, 504)), *_proxied(among)]


def _proxied(said: Mapping[str, Any]) -> Iterator[Finding]:
    """A proxy that nobody named. Told by what it wrote into the probe, which named no client: one that writes nothing is not seen."""
    if said.get("unbelieved_proxy") is True:
        peer = visible(str(said.get("client")))[:60]
        text = f"it comes through a proxy at {peer} that is not among TRUSTED_PROXIES: all its clients share one address's limits"
        yield note(ABOUT, text, f"TASKRELAY_TRUSTED_PROXIES={peer}   (if nobody but your own proxy dials from there)")


def _unless_stopped(found: Finding, seen: Seen, nobody: bool) -> Finding:
    """That nobody answers is no mistake before the first start."""
    if found.grade is Grade.WRONG and nobody and seen.serving is False:
        return note(ABOUT, "not tried: nobody serves this database now", START)
    return found


def _provider(settings: Settings) -> str:
    """Whose path is tried: of one that will push, since a proxy may treat paths differently."""
    from service.bootstrap.accounts import pushing_providers

    pushing = pushing_providers()
    ours = [one.provider for one in settings.accounts.values() if one.enabled and one.provider in pushing]
    return (ours or list(pushing))[0]


def _judge(reply: httpx.Response, body: bytes, token: str, tokens: Tokens, public_url: str, took: int) -> Finding:
    said = _document(reply)
    if reply.status_code == 200 and "probe" in said:
        if said["probe"] == tokens.echo(token, body):
            return fine(ABOUT, f"a push to {public_url} gets through to us whole: {len(body):,} bytes in {took} ms")
        text = f"of {len(body):,} bytes {said.get('bytes')} arrived, or others: something changes what providers send"
        return wrong(ABOUT, text, "switch off whatever rewrites or cuts request bodies at /callbacks/")
    text, fix = _other(reply, said, public_url)
    return wrong(ABOUT, f"{public_url}: {text}", fix)


def _document(reply: httpx.Response) -> dict[str, Any]:
    try:
        said = reply.json()
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _other(reply: httpx.Response, said: dict[str, Any], public_url: str) -> tuple[str, str]:
    """Who answered instead of our door, and what lets a push through."""
    status, code = reply.status_code, said.get("code")
    ours = "application/problem+json" in reply.headers.get("content-type", "") and isinstance(code, str)
    who = visible(reply.headers.get("server", "something else"))[:60]
    if status in (301, 302, 303, 307, 308):
        to = visible(reply.headers.get("location", ""))[:120]
        return f"it redirects to {_origin(to) or 'elsewhere'}, and providers do not follow", _redirected(to, public_url)
    if ours and code == "method_not_allowed":
        return "our POST arrived as something else: a proxy or redirect turned it into a GET", KEEP_PATH
    if ours and code == "not_found" and said.get("detail") != AT_THE_DOOR:
        return "it reached a taskrelay, but not under /callbacks/…: the path is changed on the way", KEEP_PATH
    if ours and code == "not_found":
        return (
            "another installation answers: a taskrelay with another database or other keys",
            "point it at this one, or give this one that TASKRELAY_DATABASE_URL and TASKRELAY_SECRET_KEYS",
        )
    if ours and code == "unsupported_media_type":
        return "a proxy compresses what providers send", "switch off compression of request bodies at /callbacks/"
    return _of_proxy(status, who)


def _of_proxy(status: int, who: str) -> tuple[str, str]:
    match status:
        case 401 | 403 | 407:
            return (
                f"{who} wants a login (status {status}), and providers have none",
                "let POST /callbacks/ through without one",
            )
        case 404:
            return (
                f"{who} answers 404: the path does not lead to us",
                "location /callbacks/ { proxy_pass http://127.0.0.1:8080; }",
            )
        case 411:
            return f"{who} refuses a body without a length (411)", "let it pass chunked requests on, or buffer them"
        case 413:
            return f"{who} refuses {BODY_BYTES:,} bytes (413)", "client_max_body_size 1m;   (nginx)"
        case 502 | 503 | 504:
            return (
                f"{who} answers, and reaches nobody behind it (status {status})",
                "proxy_pass to TASKRELAY_HOST and TASKRELAY_PORT, where serve listens",
            )
        case _:
            return (
                f"{who} answers with status {status}, and it is not us",
                "TASKRELAY_PUBLIC_URL=<where this taskrelay is reached>",
            )


def _origin(url: str) -> str | None:
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") and parts.netloc else None


def _redirected(to: str, public_url: str) -> str:
    origin = _origin(to)
    if origin is not None and origin != public_url:
        return f"TASKRELAY_PUBLIC_URL={origin}"
    return "switch off that redirect for /callbacks/"
