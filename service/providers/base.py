"""What a provider contract is: its models, its traits, and flows that ask and read.

A flow is a generator: it yields an `Ask`, is sent the `Reply`, and returns what it read. `net.client` does the sending, so
time limits, size caps, credentials and error classes exist once. Everything here is pure and total: garbage in a
reply raises `BadReply` or becomes `Claim.UNKNOWN`/`Claim.AMBIGUOUS`, never another exception.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, DecimalException
from typing import Protocol, TypeAlias, TypeVar, runtime_checkable

import orjson

from service.core.json_text import MAX_DEPTH, MAX_INTEGER, excess
from service.core.observation import Reading
from service.core.request import TaskRequest
from service.providers.limits import Apart, Limit, Price
from storage.records import Task, light

PLAIN_BYTES = 8192


class ProviderError(Exception):
    """Something about a provider's answer was wrong."""


class BadReply(ProviderError):
    """The provider's bytes could not be read; nothing is known about the job."""


class UploadRefused(ProviderError):
    """The provider did not take the file; the text says why, in its words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file on its way to a provider. `name`: its field in the form. `filename` is ours; the client's own never travels."""

    name: str
    filename: str
    type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request an adapter wants made. `path` is appended to the account's base URL; `query` is encoded by the sender.

    `paid`: this request buys. It gets a fresh connection, the submission's deadline and the guard at the socket.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, object] | None = None
    file: File | None = None  # instead of a body: a form with this one file
    paid: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back. `headers`: names lower-cased. `body`: identity-encoded bytes, capped by the sender."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


T = TypeVar("T")
Flow: TypeAlias = Generator[Ask, Reply, T]


@light(frozen=True, slots=True, kw_only=True)
class Push:
    """One inbound provider push as received. `headers`: names lower-cased."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What the contract can do; behaviour is driven by these, never by a provider's name."""

    callbacks: bool  # accepts a callback URL and pushes
    batch: int = 1  # jobs one query may name
    look_up: bool = False  # finds a job whose id we never learned
    look_up_needs_callback: bool = False  # … by the callback URL alone, so only where the submission carried one
    resend: bool = False  # a lost submission may be made again: all of a task's carry one id that the provider knows
    expected_seconds: int = 120  # how long a job usually takes, until durations are learned
    rate: float = 5.0  # requests a second per account, unless configured
    no_job: str = (
        "00000000-0000-0000-0000-000000000000"  # in the form of its ids, and nobody's: to ask whether a key is taken
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model of a contract and which words of the common input it takes."""

    name: str
    inputs: frozenset[str]
    options: frozenset[str] = frozenset()  # native fields `provider_options` may carry
    limits: Mapping[str, Limit] = field(default_factory=dict)  # of words of the input
    native: Mapping[str, Limit] = field(default_factory=dict)  # of native fields
    apart: tuple[Apart, ...] = ()
    rules: tuple[str, ...] = ()  # what no table can say, in words; published beside the schema
    prices: tuple[Price, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What an adapter may know of an account; its credential stays with the sender."""

    name: str
    provider: str
    endpoint_path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clues:
    """What may lead to a lost job beside the task's own id. `ours`: whether a callback URL is one of this task's submissions'.

    The URLs themselves hold secrets, so an adapter can recognise one and never sees it. `since`, `until`: microseconds,
    between which the job was made if at all. `hinted_ids`: what pushes that named one of our submissions call their job.
    """

    ours: Callable[[str], bool]
    since: int
    until: int
    hinted_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Expected price of one task in the contract's own unit; None when the price is not known."""

    unit: str
    amount: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A request that the contract accepts: the effective input with every default spelled out."""

    input: Mapping[str, object]
    provider_options: Mapping[str, object]
    estimate: Estimate


class Provider(Protocol):
    """One company's contract."""

    name: str
    base_url: str
    traits: Traits
    models: Mapping[str, Model]

    def prepare(self, request: TaskRequest) -> Prepared:
        """Check against the contract's own limits. Raises `core.request.Invalid` with every fault and its pointer."""

    def submit(self, account: Account, task: Task, callback_url: str | None) -> Flow[Reading]:
        """Buy. Claims ACCEPTED (with provider_task_id), REFUSED, DEFERRED or AMBIGUOUS."""

    def query(self, account: Account, tasks: Sequence[Task]) -> Flow[Mapping[str, Reading]]:
        """Ask after bound tasks (at most `traits.batch`), answered by task id; a task the reply lacks is ABSENT."""

    def look_up(self, account: Account, task: Task, clues: Clues) -> Flow[Reading]:
        """Find a job whose id we never learned. A job is ours only if it states our external id or a callback URL of ours.

        ABSENT only on a well-formed answer that would have held it.
        """

    def read(self, push: Push) -> Reading:
        """What a push says. Pure and total: what cannot be read claims UNKNOWN."""

    def signed(self, push: Push, secret: str, now: int) -> bool:
        """Whether the push carries a valid, fresh signature made with `secret`. `now`: microseconds, as all instants."""


@runtime_checkable
class Uploader(Protocol):
    """A contract that also takes images, and answers with a URL that its own models can fetch."""

    def upload(self, account: Account, file: File) -> Flow[str]:
        """Store an image. Returns its URL; raises `UploadRefused`, or `BadReply` where the answer holds no URL."""


# All contracts, asked for when a refusal wants to say who else takes what this one lacks.
Everyone: TypeAlias = Callable[[], Mapping[str, Provider]]


def parse_reply(body: bytes) -> object:
    """Read a provider's body leniently, and raise nothing but `BadReply`.

    Integers beyond 2^53 and numbers with odd exponents become their own text, so that an 18-digit id sent as a JSON
    number keeps every digit; other fractions become Decimal. Bytes that are not UTF-8 become U+FFFD.
    """
    value = _plain(body)
    if value is not None:
        return value
    text = body.decode("utf-8-sig", errors="replace")
    beyond = excess(text)
    if beyond is not None:
        raise BadReply(f"the body {beyond}")
    try:
        value = json.loads(
            text,
            strict=False,
            parse_int=_integer,
            parse_float=_fraction,
            parse_constant=lambda word: None,
            object_pairs_hook=_pairs,
        )
    except ValueError:
        raise BadReply("the body is not JSON") from None
    return value


def _plain(body: bytes) -> object:
    """The value, if it holds nothing that needs care; None sends it the careful way. Most pushes are plain: 3 for 7 µs."""
    if len(body) > PLAIN_BYTES:
        return None
    try:
        value: object = orjson.loads(body)
        # A colon after a quote for every key that was kept: had a key come twice, there would be more.
        return value if _keys(value) == body.count(b'":') else None
    except (orjson.JSONDecodeError, _NeedsCare):
        return None


def _keys(value: object) -> int:
    """How many keys the value holds; raises on what only the careful way reads exactly."""
    keys, nested, seen = 0, [value], 0
    while nested:
        one = nested.pop()
        kind = type(one)
        if kind is dict or kind is list:
            seen += 1  # not deeper than there are containers
            if seen > MAX_DEPTH:
                raise _NeedsCare
            if kind is dict:
                keys += len(one)  # type: ignore[arg-type]
                one = one.values()  # type: ignore[attr-defined]
            nested += [inner for inner in one if type(inner) is not str]  # type: ignore[attr-defined]
        elif not (one is None or kind is str or kind is bool or (kind is int and abs(one) <= MAX_INTEGER)):  # type: ignore[arg-type]
            raise _NeedsCare
    return keys


class _NeedsCare(Exception):
    """A fraction, a huge integer, or deep nesting."""


def _integer(digits: str) -> int | str:
    return digits if len(digits) > 17 or abs(int(digits)) > MAX_INTEGER else int(digits)


def _fraction(digits: str) -> Decimal | str:
    try:
        value = Decimal(digits) if len(digits) <= 40 else None
    except DecimalException:
        value = None
    return digits if value is None or abs(value.adjusted()) > 30 else value


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members: dict[str, object] = {}
    for name, value in pairs:
        # Two readers of one body may each take another of two values: such a body proves nothing.
        if name in members and members[name] != value:
            raise BadReply("a key appears twice with different values")
        members[name] = value
    return members
