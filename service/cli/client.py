"""The thin client behind every command that speaks to a running taskrelay: asks, and turns an error into what to do."""

from __future__ import annotations

import ipaddress
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from service import __version__
from service.cli.refusal import NOTHING_THERE, advice, refusal, unanswered, unreachable
from service.cli.terminal import FAILED, UNREACHABLE, USAGE, Stop, note

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

TRIES = 3  # of a question whose answer got lost, or that could not be answered just now
LONGEST_ANSWER_SECONDS = 30.0
WAIT_AT_ONCE, WAIT_IN_ALL = 60.0, 120.0  # seconds: a limit that asks for more is told instead
LIMITED = frozenset(
    {409, 429}
)  # nothing was done; a conflict that says when to come back is our own earlier try, still at work
BUSY = frozenset({502, 503, 504})  # says nothing of whether an order was carried out, so only questions are repeated


@dataclass(slots=True)
class Api:
    """A taskrelay's HTTP API. Use it as a context."""

    url: str
    key: str = field(repr=False)
    pause: Callable[[float], None] = field(default=time.sleep, repr=False)
    _client: httpx.Client | None = field(default=None, repr=False)

    def __enter__(self) -> Api:
        import httpx

        host = _host(self.url)
        if not self.key.isascii() or not self.key.isprintable():
            raise Stop("--key holds a character that no key has; copy it again", USAGE)
        headers = {"user-agent": f"taskrelay-cli/{__version__}"}
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        self._client = httpx.Client(
            base_url=self.url.rstrip("/"),
            headers=headers,
            timeout=httpx.Timeout(LONGEST_ANSWER_SECONDS, connect=5.0),
            trust_env=not this_machine(host),  # a proxy cannot reach our own loopback
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
        if not reply.is_success:
            self._accepted(reply)
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
        return (None, tag) if reply.status_code == 304 else (self._accepted(reply), known)

    def create(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Create something, once: under an Idempotency-Key of its own a repeat is answered with what the first one made."""
        return self._asked("POST", path, tries=TRIES, json=dict(body or {}), headers=_once())

    def post(self, path: str, body: Mapping[str, Any] | None = None, query: Mapping[str, Any] | None = None) -> Any:
        """Order something. Sent once: whether a lost answer meant yes is looked up, not guessed."""
        return self._asked("POST", path, json=dict(body or {}), params=_given(query or {}))

    def upload(self, path: str, name: str, content: bytes, fields: Mapping[str, str]) -> Any:
        """Send a file as a form, once as `create` does."""
        form = {"files": {"file": (name, content)}, "data": dict(fields)}
        return self._asked("POST", path, tries=TRIES, headers=_once(), **form)

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """Set what the body says. The same again changes nothing, so a lost answer is asked for again."""
        return self._asked("PATCH", path, json=dict(body))

    def delete(self, path: str) -> Any:
        return self._asked("DELETE", path)

    def _asked(self, method: str, path: str, *, tries: int | None = None, **request: Any) -> Any:
        return self._accepted(self._sent(method, path, tries=tries, **request))

    def _sent(self, method: str, path: str, *, tries: int | None = None, **request: Any) -> httpx.Response:
        """The answer, whatever it says. A lost one is asked for again only when asking twice does nothing twice."""
        import httpx

        assert self._client is not None
        left = tries or (1 if method == "POST" else TRIES)
        waited, lost = 0.0, False
        while True:
            try:
                reply = self._client.request(method, path, **request)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
                text = unanswered(self.url, method, why(error)) if lost else unreachable(self.url, error, why(error))
                raise Stop(text, UNREACHABLE) from None
            except httpx.TransportError as error:
                lost, left = True, left - 1
                if not left:
                    raise Stop(unanswered(self.url, method, why(error)), UNREACHABLE) from None
                continue
            left -= reply.status_code in BUSY
            wait = _wait(reply) if left else None
            if wait is None or waited + wait > WAIT_IN_ALL:
                return reply
            note(f"{_reason(reply)}; asking again in {wait:g} s")
            self.pause(wait)
            waited += wait

    def _accepted(self, reply: httpx.Response) -> Any:
        """What was answered, or `Stop` with why it was refused and what to do."""
        if reply.is_success:
            return _document(reply) if reply.content else None
        text, code, facts = refusal(reply)
        about = self._about() if reply.status_code in NOTHING_THERE else None
        more = advice(reply.status_code, key=self.key, about=about, version=__version__)
        raise Stop(f"{text}\n    {more}" if more else text, code, facts)

    def _about(self) -> Mapping[str, Any] | None:
        """What the other side calls itself, if it says so at once."""
        import httpx

        assert self._client is not None
        try:
            said = self._client.get("/", timeout=2.0).json()
        except (httpx.HTTPError, ValueError, RecursionError):
            return None
        return said if isinstance(said, dict) else {}


def _host(url: str) -> str:
    """The host of an address that can be asked. Raises `Stop`."""
    import httpx

    try:
        parts = urlsplit(str(httpx.URL(url)))
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts.hostname
    except (ValueError, httpx.InvalidURL):
        pass
    raise Stop(f"--url: {url!r} is not a URL; it looks like {HERE}", USAGE)


def _once() -> dict[str, str]:
    return {"idempotency-key": f'"{secrets.token_hex(16)}"'}


def _wait(reply: httpx.Response) -> float | None:
    """Seconds after which the same may be asked again. None: it is answered, or asking again is no use."""
    if reply.status_code not in LIMITED and reply.status_code not in BUSY:
        return None
    said = reply.headers.get("retry-after", "")
    if not (said.isascii() and said.isdecimal() and len(said) <= 6):
        return None if reply.status_code in LIMITED else 1.0
    return max(float(said), 0.1) if float(said) <= WAIT_AT_ONCE else None


def _reason(reply: httpx.Response) -> str:
    """Why not just now, in a line."""
    return refusal(reply)[0].splitlines()[0].rstrip(".")


def why(error: Exception) -> str:
    """What an error of the network says, or at least what it is called."""
    return str(error) or type(error).__name__


def _document(reply: httpx.Response) -> Any:
    try:
        return reply.json()
    except ValueError:
        raise Stop(
            f"{reply.url} answered {reply.status_code} with something that is not JSON. Is that taskrelay? Check --url",
            FAILED,
        ) from None


def _given(query: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}


def this_machine(host: str) -> bool:
    """Whether a host is our own loopback."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
