"""One claim about a task in our vocabulary: what every source of truth becomes.

A provider adapter produces a `Reading` (what the provider said, in our words). The pipeline adds who asked, about which
task, and when: an `Observation`, the only thing `core.lifecycle.advance` accepts.
"""

from __future__ import annotations

from enum import StrEnum
from operator import attrgetter
from typing import Any, Final

import orjson

from storage.records import Failure, FailureCode, Lane, Output, light


class Source(StrEnum):
    """Where an observation came from."""

    SUBMIT = "submit"
    CALLBACK = "callback"
    POLL = "poll"
    LOOK_UP = "look_up"
    OPERATOR = "operator"
    DEADLINE = "deadline"
    READER = "reader"  # somebody follows our link to an output


class Claim(StrEnum):
    """What is claimed. The first group speaks of a submission, the second of a provider's job, the third is ours."""

    INTENT = "intent"  # committed: this submission is about to be made
    ACCEPTED = "accepted"  # the provider took it and named its job
    REFUSED = "refused"  # for good; nothing was made
    DEFERRED = "deferred"  # refused for now, or never sent; nothing was made
    AMBIGUOUS = "ambiguous"  # it may or may not have been made

    WAITING = "waiting"  # the provider has it in its queue
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"  # a word or shape we do not know; never an end
    ABSENT = "absent"  # a well-formed answer without the job
    UNREACHABLE = "unreachable"  # the query itself failed; says nothing of the job

    OVERDUE = "overdue"  # the task's deadline has passed
    CANCEL = "cancel"
    # A person settles an unconfirmed purchase:
    ADOPT = "adopt"  # this job is it
    RESUBMIT = "resubmit"  # send it once more, a possible second charge is accepted
    ABANDON = "abandon"  # give it up
    WANTED = "wanted"  # somebody wants the output, and the link to it is too old: rings for a query, decides nothing
    ASKED = "asked"  # somebody wants to know now how it stands: rings for a query, decides nothing
    RESTORED = (
        "restored"  # an older copy of the database was brought back: what was open then may have been bought since
    )


@light(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one provider message says about one job. Made by adapters; holds no secret.

    `provider_task_id`, `external_id`: the job's ids as the message states them, text. `charged`: exact decimal text in
    `cost_unit`. `also`: further job ids found for the same external id (a surplus purchase). `raw`: the bytes as received.
    """

    claim: Claim
    provider_task_id: str | None = None
    external_id: str | None = None
    provider_status: str | None = None
    progress: int | None = None
    outputs: tuple[Output, ...] = ()
    failure: Failure | None = None
    charged: str | None = None
    cost_unit: str | None = None
    retry_after_seconds: float | None = None
    busy: bool = False  # the provider is well and wants fewer requests
    account_refused: bool = False  # the credential or balance was refused, not this task
    refused_since: int | None = None  # … and has been since then, for whatever task; the account's lane adds it
    refunded: bool = False  # the provider states that it gave the charge back
    also: tuple[str, ...] = ()
    detail: str | None = None  # one line for the timeline
    raw: bytes | None = None


@light(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who ordered something: an API key by its id and name, never the key itself."""

    key_id: str
    name: str


@light(frozen=True, slots=True, kw_only=True)
class Observation:
    """One claim about one task. `verified`: an authenticated source, or a push that the account trusts; otherwise it only rings."""

    task_id: str
    source: Source
    reading: Reading
    at: int
    submission_id: str | None = None
    verified: bool = True
    prompted_by: Claim | None = None  # the push that made us ask
    # Who was asked or pushed: a task that has gone on to another account learns nothing of that one's job.
    account: str | None = None
    # With an intent; a reply that states it speaks of that submission alone.
    submission_deadline_at: int | None = None
    by: Actor | None = None  # with what a person ordered
    # With what an account's lane says of its own accord: counts only as long as its owner still is the owner.
    lane: Lane | None = None
    heard_at: int | None = None  # when the push came that this is, or that made us ask; for measuring, decides nothing

    @property
    def claim(self) -> Claim:
        return self.reading.claim


# `raw` stands in a column of its own.
DUMPED: Final = tuple(name for name in Reading.__dataclass_fields__ if name != "raw")
_values = attrgetter(*DUMPED)


def dump(reading: Reading) -> str:
    """A reading as kept for replay, without what it does not say: half of its fields say nothing most of the time."""
    said = {
        name: value
        for name, value in zip(DUMPED, _values(reading), strict=True)
        if value is not None and value is not False and value != ()
    }
    return orjson.dumps(said).decode()


def load(text: str) -> Reading:
    """What `dump` wrote."""
    said: dict[str, Any] = orjson.loads(text)
    said["claim"] = Claim(said["claim"])
    if "outputs" in said:
        said["outputs"] = tuple(Output(**output) for output in said["outputs"])
    if "failure" in said:
        said["failure"] = Failure(**{**said["failure"], "code": FailureCode(said["failure"]["code"])})
    if "also" in said:
        said["also"] = tuple(said["also"])
    return Reading(**said)
