"""The thin client behind every command that speaks to a running taskrelay: asks, and turns an error into what to do."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from service.cli.terminal import FAILED, UNREACHABLE, USAGE, Stop

if TYPE_CHECKING:
    import httpx

URL_VARIABLE, KEY_VARIABLE = "TASKRELAY_URL", "TASKRELAY_KEY"
SECRET_VARIABLE = "TASKRELAY_WEBHOOK_SECRET"  # of `verify`: what a receiver verifies with
CLIENT_VARIABLES = frozenset({URL_VARIABLE, KEY_VARIABLE, SECRET_VARIABLE})
HERE = "http://127.0.0.1:8080"

Url = Annotated[str, typer.Option("--url", envvar=URL_VARIABLE, help="Where taskrelay listens.")]
Key = Annotated[
    str,
    typer.Option(
        "--key",
        envvar=KEY_VARIABLE,
        show_default=False,
        help="Your API key; better in the variable, where ps cannot see it.",
    ),
]

TRIES = 3  # of a question whose answer got lost
LONGEST_ANSWER_SECONDS = 30.0


@dataclass(slots=True)
class Api:
    """A taskrelay's HTTP API. Use it as a context."""

    url: str
    key: str = field(repr=False)
    _client: httpx.Client | None = field(default=None, repr=False)

    def __enter__(self) -> Api:
        import httpx

        from service import __version__

        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Stop(f"--url: {self.url!r} is not a URL; it looks like {HERE}", USAGE)
        if not self.key.isascii() or not self.key.isprintable():
            raise Stop("--key holds a character that no key has; copy it again", USAGE)
        headers = {"user-agent": f"taskrelay-cli/{__version__}"}
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        self._client = httpx.Client(
            base_url=self.url.rstrip("/"),
            headers=headers,
            timeout=httpx.Timeout(LONGEST_ANSWER_SECONDS, connect=5.0),
            trust_env=not this_machine(parts.hostname),  # a proxy cannot reach our own loopback
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.close()

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        return self._asked("GET", path, params=_given(query or {}))

    def content(self, path: str) -> bytes:
        """An answer byte for byte."""
        reply = self._sent("GET", path)
        _accepted(reply)
        return reply.content

    @contextmanager
    def stream(
        self, path: str, query: Mapping[str, Any], headers: Mapping[str, str], *, quiet_seconds: float
    ) -> Iterator[httpx.Response]:
        """An answer that goes on, whatever it says. Raises httpx's errors, also `ReadTimeout` once nothing came for so long."""
        import httpx

        assert self._client is not None
        patience = httpx.Timeout(quiet_seconds, connect=5.0)
        with self._client.stream("GET", path, params=_given(query), headers=headers, timeout=patience) as reply:
            yield reply

    def follow(self, path: str, tag: str | None, seconds: int) -> tuple[Any, str | None]:
        """What is there once it differs from what `tag` stands for, or None when the time is over; and its tag."""
        reply = self._sent("GET", path, params={"wait": seconds}, headers={"if-none-match": tag} if tag else {})
        known = reply.headers.get("etag")
        return (None, tag) if reply.status_code == 304 else (_accepted(reply), known)

    def post(self, path: str, body: Mapping[str, Any] | None = None, query: Mapping[str, Any] | None = None) -> Any:
        """Create something, or order it. Sent once: whether a lost answer meant yes is looked up, not guessed."""
        return self._asked("POST", path, json=dict(body or {}), params=_given(query or {}))

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """Set what the body says. The same again changes nothing, so a lost answer is asked for again."""
        return self._asked("PATCH", path, json=dict(body))

    def delete(self, path: str) -> Any:
        return self._asked("DELETE", path)

    def _asked(self, method: str, path: str, **request: Any) -> Any:
        return _accepted(self._sent(method, path, **request))

    def _sent(self, method: str, path: str, **request: Any) -> httpx.Response:
        """The answer, whatever it says. A lost one is asked for again only when asking changes nothing."""
        import httpx

        assert self._client is not None
        for remaining in reversed(range(1 if method == "POST" else TRIES)):
            try:
                return self._client.request(method, path, **request)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
                raise Stop(_unreachable(self.url, why(error)), UNREACHABLE) from None
            except httpx.TransportError as error:
                if not remaining:
                    raise Stop(_unanswered(self.url, method, why(error)), UNREACHABLE) from None
        raise AssertionError("every try either returns or raises")


def why(error: Exception) -> str:
    """What an error of the network says, or at least what it is called."""
    return str(error) or type(error).__name__


def _unanswered(url: str, method: str, why: str) -> str:
    if method == "POST":
        return (
            f"{url} took the request and gave no answer: {why}\n    It may have been done. Look before you repeat it."
        )
    return f"{url} gave no answer: {why}"


def _unreachable(url: str, why: str) -> str:
    return (
        f"{url} does not answer: {why}\n"
        f"    Is it running? Start it with: taskrelay serve   or say where it is: --url or {URL_VARIABLE}"
    )


def _accepted(reply: httpx.Response) -> Any:
    """What was answered, or `Stop` with why it was refused."""
    if reply.is_success:
        return _document(reply) if reply.content else None
    raise Stop(*refusal(reply))


def _document(reply: httpx.Response) -> Any:
    try:
        return reply.json()
    except ValueError:
        raise Stop(
            f"{reply.url} answered {reply.status_code} with something that is not JSON. Is that taskrelay? Check --url",
            FAILED,
        ) from None


def refusal(reply: httpx.Response) -> tuple[str, int, Mapping[str, Any]]:
    """A refusal in lines: status, then the field or the code, then what is wrong and what to do."""
    try:
        problem = reply.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        text = f"{reply.status_code} {reply.reason_phrase}  from {reply.url}, which may not be taskrelay. Check --url"
        return text, FAILED, {"status": reply.status_code, "detail": text}
    return "\n".join(lines(problem, reply.status_code)), FAILED, problem


def lines(problem: Mapping[str, Any], status: int) -> list[str]:
    """`422 /input/duration  …` for each fault, or `409 reference_taken  …` when no field is at fault."""
    faults = [fault for fault in problem.get("errors") or [] if isinstance(fault, dict)]
    if not faults:
        detail = problem.get("detail") or problem.get("title") or "it says no more"
        return _indented(f"{status} {problem.get('code') or 'refused'}  {detail}")
    return [
        line
        for fault in faults
        for line in _indented(
            f"{status} {fault.get('pointer') or problem.get('code') or 'refused'}  {fault.get('detail')}"
        )
    ]


def _indented(text: str) -> list[str]:
    first, *more = text.splitlines() or [""]
    return [first, *(f"    {line.strip()}" for line in more)]


def _given(query: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}


def this_machine(host: str) -> bool:
    """Whether a host is our own loopback."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
