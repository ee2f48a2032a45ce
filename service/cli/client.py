"""The thin client behind every command that speaks to a running taskrelay: asks, and turns an error into what to do."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from service.cli.terminal import FAILED, UNREACHABLE, USAGE, Stop

if TYPE_CHECKING:
    import httpx

URL_VARIABLE, KEY_VARIABLE = "TASKRELAY_URL", "TASKRELAY_KEY"
CLIENT_VARIABLES = frozenset({URL_VARIABLE, KEY_VARIABLE})
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

TRIES = 3  # of a creating request whose answer got lost; the Idempotency-Key makes them one
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
            trust_env=not _this_machine(parts.hostname),  # a proxy cannot reach our own loopback
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.close()

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        return self._asked("GET", path, params=_given(query or {}))

    def post(self, path: str, body: Mapping[str, Any] | None = None, query: Mapping[str, Any] | None = None) -> Any:
        """Create something, or order it. Safe to repeat: the same `Idempotency-Key` every time."""
        import uuid

        return self._asked(
            "POST",
            path,
            json=dict(body or {}),
            params=_given(query or {}),
            headers={"idempotency-key": str(uuid.uuid4())},
        )

    def delete(self, path: str) -> Any:
        return self._asked("DELETE", path)

    def _asked(self, method: str, path: str, **request: Any) -> Any:
        import httpx

        assert self._client is not None
        for remaining in reversed(range(TRIES)):
            try:
                reply = self._client.request(method, path, **request)
                break
            except httpx.ConnectError as error:
                raise Stop(_unreachable(self.url, str(error)), UNREACHABLE) from None
            except httpx.TransportError as error:
                if not remaining:
                    raise Stop(_unreachable(self.url, str(error) or type(error).__name__), UNREACHABLE) from None
        if reply.is_success:
            return _document(reply) if reply.content else None
        raise Stop(*_refusal(reply))


def _unreachable(url: str, why: str) -> str:
    return (
        f"{url} does not answer: {why}\n"
        f"    Is it running? Start it with: taskrelay serve   or say where it is: --url or {URL_VARIABLE}"
    )


def _document(reply: httpx.Response) -> Any:
    try:
        return reply.json()
    except ValueError:
        raise Stop(
            f"{reply.url} answered {reply.status_code} with something that is not JSON. Is that taskrelay? Check --url",
            FAILED,
        ) from None


def _refusal(reply: httpx.Response) -> tuple[str, int, Mapping[str, Any]]:
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


def _this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
