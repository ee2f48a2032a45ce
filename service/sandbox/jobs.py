"""What the sandbox remembers: requests seen, jobs accepted, pushes sent, and the knobs that set its manners."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from service.sandbox.directives import Directives


class Phase(StrEnum):
    """Where a job stands, whatever its contract calls that."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self in (Phase.SUCCEEDED, Phase.FAILED)


@dataclass(slots=True, kw_only=True)
class Knobs:
    """Switches of the whole sandbox. Tests set them directly, other programs through PATCH /_sandbox/knobs."""

    api_key: str | None = field(default=None, repr=False)  # None: any Bearer credential will do
    job_seconds: float | None = 2.0  # None: jobs move only by hand
    unique_external_id: bool = True  # Kling's pages demand it; off, the oracle counts what would be bought twice
    concurrency_limit: int | None = None  # open jobs, then 429/1303
    webhook_secret: str | None = field(default=None, repr=False)  # whsec_…: pushes are signed
    push_timeout_seconds: float = 5.0
    push_retries: int = 0  # the number of retries is not documented, so none
    push_retry_seconds: float = 1.0
    credits: int = 100_000  # UlazAI balance at the start
    output_base: str = "https://video.sandbox.example"


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
    kind: Literal["create", "query", "upload"] | None = None
    body: bytes = field(default=b"", repr=False)
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
    """One query that named a job, by its own id or by the client's."""

    at: float
    by: Literal["id", "external_id"]


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One accepted create."""

    contract: Contract
    id: str
    prompt: str
    asked: Mapping[str, object]  # the effective request, defaults filled in
    directives: Directives
    accepted_at: float
    external_id: str | None = None
    callback_url: str | None = field(default=None, repr=False)  # carries the client's token
    credits: int = 0
    phase: Phase = Phase.WAITING
    word: str = ""
    updated_at: float = 0.0
    finished_at: float | None = None
    reason: str = ""
    changes: list[Change] = field(default_factory=list)
    pushes: list[Push] = field(default_factory=list)
    queries: deque[Query] = field(default_factory=lambda: deque(maxlen=1_000))
    queried: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What the world must know of a contract to move its jobs."""

    name: str
    words: Mapping[Phase, str]
    first: Phase  # the phase of a job just accepted
    counts_by: Literal["external_id", "prompt"]  # what identifies a purchase to the oracle
    pushed: Callable[[Job], Mapping[str, object]] | None = None  # a push's body; None: this contract never pushes
