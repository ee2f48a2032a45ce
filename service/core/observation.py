"""One claim about a task in our vocabulary: what every source of truth becomes.

A provider adapter produces a `Reading` (what the provider said, in our words). The pipeline adds who asked, about which
task, and when: an `Observation`, the only thing `core.lifecycle.advance` accepts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from storage.records import Failure, Output


class Source(StrEnum):
    """Where an observation came from."""

    SUBMIT = "submit"
    CALLBACK = "callback"
    POLL = "poll"
    LOOK_UP = "look_up"
    OPERATOR = "operator"
    DEADLINE = "deadline"


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
    ABANDON = "abandon"  # a person gives an unconfirmed purchase up


@dataclass(frozen=True, slots=True, kw_only=True)
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
    account_refused: bool = False  # the credential or balance was refused, not this task
    refunded: bool = False  # the provider states that it gave the charge back
    also: tuple[str, ...] = ()
    detail: str | None = None  # one line for the timeline
    raw: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One claim about one task. `verified`: an authenticated source, or a push that the account trusts."""

    task_id: str
    source: Source
    reading: Reading
    at: int
    submission_id: str | None = None
    verified: bool = True
    prompted_by: Claim | None = None  # the push that made us ask
    submission_deadline_at: int | None = (
        None  # with Claim.INTENT; a reply that states it speaks of that submission alone
    )

    @property
    def claim(self) -> Claim:
        return self.reading.claim
