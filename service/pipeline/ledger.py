"""What one batch of observations needs and gathers: the desk it is recorded at, the ledger it fills, the batch it becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from service.core import ids
from service.core.durations import Curve
from service.core.events import EventType
from service.core.lifecycle import Outcome, Rules, Step
from service.core.observation import Reading, Source
from storage import outbox
from storage.callbacks import Orphaned
from storage.records import (
    AuditEntry,
    LaneKind,
    ObservationRow,
    Submission,
    SubmissionStatus,
    Task,
    TimelineEntry,
    light,
)

RAW_KEPT = 16_384  # bytes of a provider message that are kept for people
LaneKey = tuple[LaneKind, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRules:
    """What an account's contract and settings mean for its tasks. `trust`: a push decides by itself."""

    trust: bool
    pushes: bool
    look_up: bool
    expected_seconds: float
    settle_seconds: float
    resend: bool = False  # a lost purchase may be made once more
    signed: bool = False  # a provider signature is configured: unsigned pushes only ring


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What recording needs beside the database."""

    accounts: Mapping[str, AccountRules]
    public_url: str
    event_key: bytes
    output_url: Callable[[str], str]  # task id → link to its output
    clock: Callable[[], int]
    entropy: Callable[[int], bytes]
    chance: Callable[[], float]
    curve: Callable[[Task], Curve] | None = None  # how long such a job takes, where that is learned


@light(frozen=True, slots=True, kw_only=True)
class Callback:
    """A push with a good token, as the door received it. `signed`: it carries a valid provider signature."""

    provider: str
    submission_id: str
    reading: Reading
    body: bytes
    signed: bool = False
    at: int | None = None  # when it came


@light(frozen=True, slots=True, kw_only=True)
class Happened:
    """What is told of a task in this batch. `pushed`: by a push, or by a query that one rang for."""

    task: Task
    types: tuple[EventType, ...]
    source: Source
    pushed: bool


@light(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What became of one observation. `task` is None for a push nobody knows. `void`: who said it has no say any more."""

    outcome: Outcome
    task: Task | None = None
    void: bool = False


@light(frozen=True, slots=True, kw_only=True)
class Fresh:
    """A delivery just committed, with what sending it takes: its endpoint's lane may start without reading it back."""

    endpoint_id: str
    due: outbox.Due


@dataclass(slots=True)
class Ledger:
    """What one batch has folded so far, written at its end."""

    desk: Desk
    now: int
    found: dict[str, Task]
    asked: Mapping[str, str] = field(default_factory=dict)  # the account of each submission that pushes speak of
    stored: dict[str, Task] = field(default_factory=dict)  # as read, by id
    notes: list[TimelineEntry] = field(default_factory=list)
    audited: list[AuditEntry] = field(default_factory=list)
    kept: list[ObservationRow] = field(default_factory=list)
    pushed: dict[int, ObservationRow] = field(default_factory=dict)  # pushes, by their place in the batch
    unowned: list[tuple[Callback, bytes]] = field(default_factory=list)  # pushes nobody knows, with their digest
    submissions: list[Submission] = field(default_factory=list)
    fates: list[tuple[str, SubmissionStatus, Reading]] = field(default_factory=list)
    answered: list[tuple[str, str, int]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    happened: list[Happened] = field(default_factory=list)
    heard: dict[str, int] = field(default_factory=dict)  # task → when the push came that told what is told of it
    arrivals: dict[LaneKey, int] = field(default_factory=dict)
    fresh: list[Fresh] = field(default_factory=list)
    told: set[str] = field(default_factory=set)  # projects that have an event which is of no task
    orphans: list[tuple[str, str, Orphaned]] = field(default_factory=list)  # provider, submission, what became of it

    def afresh(self) -> Ledger:
        """A ledger of the same batch, from the start."""
        return Ledger(
            desk=self.desk,
            now=self.now,
            found=dict(self.stored),
            asked=self.asked,
            stored=self.stored,
            orphans=self.orphans,
        )

    def arrive(self, kind: LaneKind, key: str, at: int) -> None:
        known = self.arrivals.get((kind, key))
        if known is None or at < known:
            self.arrivals[kind, key] = at

    def mint(self, prefix: str) -> str:
        return ids.mint(prefix, self.now, self.desk.entropy(10))

    def rules(self, task: Task) -> Rules:
        account = self.desk.accounts.get(task.account, NO_ACCOUNT)
        return Rules(
            now=self.now,
            jitter=self.desk.chance(),
            pushes=account.pushes,
            look_up=account.look_up,
            expected_seconds=account.expected_seconds,
            settle_seconds=account.settle_seconds,
            resend=account.resend,
            curve=self.desk.curve,
            configured=account is not NO_ACCOUNT,
            usable=self.desk.accounts,
        )


# A task whose account is no longer configured can only be closed by its deadline.
NO_ACCOUNT = AccountRules(trust=False, pushes=False, look_up=False, expected_seconds=120, settle_seconds=120)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The result of recording: one `Recorded` per observation, which lanes have work when, and what may be sent at once."""

    recorded: tuple[Recorded, ...]
    arrivals: Mapping[LaneKey, int]
    fresh: tuple[Fresh, ...]
    told: frozenset[str] = frozenset()  # projects that have an event which is of no task
    happened: tuple[Happened, ...] = ()
    unknown: tuple[str, ...] = ()  # accounts whose provider answered with words we do not know, one for each time
    orphans: tuple[tuple[str, str, Orphaned], ...] = ()  # pushes nobody knows: provider, submission, what became of it
