"""What the sandbox remembers: requests seen, jobs accepted, pushes sent, and the knobs that set its manners."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from service.sandbox.directives import Directives

if TYPE_CHECKING:
    from service.sandbox.accounts import Account

# API in One's pages show three generations of replies and say of none that it is in force.
REPLIES = ("early", "later", "newest")
# Kling's retirement notice of 2026-09-15: v1, v1-5, v1-6, v2-0 and v2-1, in AceData's names.
RETIRED = ("kling-v1", "kling-v1-5", "kling-v1-6", "kling-v2-master", "kling-v2-1-master")


class Phase(StrEnum):
    """Where a job stands, whatever its contract calls that."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self in (Phase.SUCCEEDED, Phase.FAILED)


Found = Literal["id", "external_id", "filter"]


@dataclass(slots=True, kw_only=True)
class Knobs:
    """Switches of the whole sandbox. Tests set them directly, other programs through PATCH /_sandbox/knobs."""

    api_key: str | None = field(default=None, repr=False)  # None: any Bearer credential will do
    job_seconds: float | None = 2.0  # None: jobs move only by hand
    unique_external_id: bool = True  # Kling's pages demand it; off, the oracle counts what would be bought twice
    concurrency_limit: int | None = None  # open jobs of one account at one contract
    rate: str | None = None  # creates of one account at one contract, as "24/h"
    query_rate: str | None = None
    faults: str = ""  # directives for every create
    query_faults: str = ""
    webhook_secret: str | None = field(default=None, repr=False)  # whsec_…: Cloudsway's pushes are signed
    push_timeout_seconds: float = 5.0
    push_retries: int = 0  # the number of retries is not documented, so none
    push_retry_seconds: float = 1.0
    credits: int = 1_000_000  # what each account has been given in all, in its contract's unit
    output_base: str = "https://video.sandbox.example"
    retired_models: tuple[str, ...] = RETIRED  # AceData
    apiinone_replies: str = "later"  # one of REPLIES


@dataclass(slots=True, kw_only=True)
class Asked:
    """One request a client made. `status` None: it has had no answer."""

    at: float
    method: str
    path: str
    query: str
    client: str  # address and port: two requests from one connection share it
    headers: Mapping[str, str]  # without the credential
    contract: str | None = None
    account: str | None = None  # the credential's label
    kind: Literal["create", "query", "upload"] | None = None
    body: bytes = field(default=b"", repr=False)  # its beginning
    ignored: tuple[str, ...] = ()  # pointers to fields the contract does not have
    told: Mapping[str, object] = field(default_factory=dict)  # what the sandbox understood
    job_id: str | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try to deliver a push. `error`: class of the failure when there was no answer."""

    at: float
    ended_at: float
    status: int | None = None
    error: str | None = None


@dataclass(slots=True, kw_only=True)
class Push:
    """One status push. A dropped one is written down and never sent."""

    webhook_id: str
    word: str
    at: float
    body: bytes = field(repr=False)
    dropped: bool = False
    attempts: list[Attempt] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A status a job took, in the contract's word."""

    at: float
    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One query that showed a job: asked by its own id, by the client's, or as one of a list."""

    at: float
    by: Found


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One accepted create."""

    contract: Contract
    account: Account = field(repr=False)
    id: str
    prompt: str
    asked: Mapping[str, object]  # the effective request, defaults filled in
    directives: Directives
    accepted_at: float
    external_id: str | None = None
    callback_url: str | None = field(default=None, repr=False)  # carries the client's token
    sent: Mapping[str, object] = field(default_factory=dict, repr=False)  # the body as it came, for echoes
    credits: Decimal = Decimal(0)  # what it is charged; nothing once it has failed
    phase: Phase = Phase.WAITING
    word: str = ""
    updated_at: float = 0.0
    finished_at: float | None = None
    reason: str = ""
    link_at: float = 0.0  # when the link that is shown was made
    purged: bool = False  # its output is deleted
    forgotten: bool = False  # and so is its record: no query shows it
    changes: list[Change] = field(default_factory=list)
    pushes: list[Push] = field(default_factory=list)
    queries: deque[Query] = field(default_factory=lambda: deque(maxlen=1_000))
    queried: int = 0

    @property
    def shows_output(self) -> bool:
        return self.phase is Phase.SUCCEEDED and not self.directives.no_output and not self.purged


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What the world must know of a contract to move its jobs."""

    name: str
    words: Mapping[Phase, str]
    company: str = ""  # whose accounts buy here; empty: the contract's own
    first: Phase  # the phase of a job just accepted
    counts_by: Literal["external_id", "prompt"]  # what identifies a purchase to the oracle
    pushed: Callable[[Job], Mapping[str, object]] | None = None  # a push's body; None: this contract never pushes
    pushes_once: bool = False  # at the end only
    signs: bool = False  # pushes carry a signature when the account has a secret

    @property
    def owner(self) -> str:
        return self.company or self.name
