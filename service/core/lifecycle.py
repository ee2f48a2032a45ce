"""The one reducer of task state: `advance(task, observation)` decides, nothing else does.

        from            to            when                                                       told             final
    T2  queued          submitting    the intent is committed
    T3  submitting      processing    a job is named: reply, look-up, trusted push               task.submitted
        unconfirmed     processing    the same; or by a person, told once the provider shows it
        queued          processing    the same, after a submission that was called deferred
    T4  submitting      queued        deferred: nothing was made, it may be later
    T5  submitting      failed        refused for good, with no earlier submission in doubt      task.failed      yes
    T6  submitting      unconfirmed   ambiguous, or found without anybody who waits for it       task.unconfirmed
    T7  unconfirmed     submitting    the intent, where `may_resend`: the purchase is surely
                                      absent, or a person or the project's policy permits it
    T8  unconfirmed     failed        abandoned                                                  task.failed      no
    T9  processing      succeeded     success with an output                                     task.succeeded   yes
    T10 processing      failed        the provider's failure                                     task.failed      yes
                                      a success word, and no output in ten more minutes          task.failed      no
    T11 processing      expired       no end by the deadline, or the job is gone                 task.expired     no
    T12 expired, failed succeeded     a late verdict, within 30 days of an end that is not       the end, late    yes
                        failed        final
    T13 queued          canceled      on request                                                 task.canceled    yes
    T14 queued          expired       never submitted by the deadline                            task.expired     yes
    T15 queued          failed        the account's key or balance is refused for 15 minutes     task.failed      yes
    T16 unconfirmed     expired       its fate stayed unknown until the deadline                 task.expired     no

    T17 submitting,     queued        refused as in T5 or T15, and a fallback is left: the task goes
        queued                        on to its account, provider, model and input
    T18 processing      unconfirmed   the job that a person named is not the task's              task.conflict

    T19 queued,         unconfirmed   the database is an older copy: it may have been bought     task.unconfirmed
        submitting                    since
    T20 unconfirmed     queued        and was not, as far as its provider can be searched: it
                                      stands where it stood when the copy was made

Everything not listed leaves the status as it is: a no-op, or where it contradicts what is settled, a conflict that is
recorded and told. Never an exception. A final end never changes; only its bill grows when a job too many is found, and its
links are renewed for whoever follows ours.

Whoever can be asked is asked once more past the deadline before a task expires, so that a service which was down for
hours expires nothing that is well.
"""

from __future__ import annotations

from typing import assert_never

from service.core import adopting, asking, buying, links, resolving, restoring, verdicts
from service.core.buying import may_resend
from service.core.observation import Claim, Observation, Reading, Source
from service.core.patience import LATE_VERDICT_SECONDS
from service.core.step import Draft, Note, Outcome, Rules, Step, ignored, said
from service.core.times import SECOND
from storage.records import Task, TaskStatus

__all__ = [
    "LATE_VERDICT_SECONDS",
    "SECOND",
    "Draft",
    "Note",
    "Outcome",
    "Rules",
    "Step",
    "advance",
    "may_resend",
    "rings",
]

REPLIES_ONLY = (Claim.REFUSED, Claim.DEFERRED, Claim.AMBIGUOUS)
ORDERS = (Claim.CANCEL, Claim.ADOPT, Claim.RESUBMIT, Claim.ABANDON, Claim.RESTORED)
RINGS_ONLY = (Claim.WANTED, Claim.ASKED)
JOB_CLAIMS = (Claim.ACCEPTED, Claim.WAITING, Claim.RUNNING, Claim.SUCCEEDED, Claim.FAILED)


def advance(task: Task, seen: Observation, rules: Rules, *, taken: bool = False) -> Step:
    """Fold one verified observation into its task. `taken`: the provider id it names belongs to another task."""
    if seen.account not in (None, task.account):
        return verdicts.of_a_former_account(task, seen, rules)
    if taken and seen.claim is Claim.ADOPT:
        return ignored(task)  # whoever said so is told; nothing was heard that would have to be told to others
    if taken:
        return verdicts.taken_by_another(task, seen, rules)
    if links.about_a_link(task, seen):
        return links.answered(task, seen, rules)
    match _claim(seen):
        case Claim.INTENT:
            return buying.intend(task, seen, rules)
        case Claim.REFUSED:
            return buying.refused(task, seen, rules)
        case Claim.DEFERRED:
            return buying.deferred(task, seen, rules)
        case Claim.AMBIGUOUS:
            return buying.ambiguous(task, seen, rules)
        case Claim.ACCEPTED | Claim.WAITING | Claim.RUNNING | Claim.SUCCEEDED | Claim.FAILED:
            return verdicts.about_a_job(task, seen, rules)
        case Claim.UNKNOWN:
            return asking.unknown(task, seen, rules)
        case Claim.ABSENT:
            return asking.absent(task, seen, rules)
        case Claim.UNREACHABLE:
            return asking.unanswered(task, seen, rules, said("query_failed", seen.reading))
        case Claim.OVERDUE:
            return asking.overdue(task, seen, rules)
        case Claim.ADOPT:
            return adopting.adopt(task, seen, rules)
        case Claim.RESUBMIT:
            return resolving.permit(task, seen, rules)
        case Claim.ABANDON:
            return resolving.abandon(task, seen, rules)
        case Claim.CANCEL:
            return buying.cancel(task, seen, rules)
        case Claim.RESTORED:
            return restoring.restored(task, seen, rules)
        case Claim.WANTED | Claim.ASKED:
            return ignored(task)
        case other:
            assert_never(other)


def rings(task: Task, reading: Reading) -> bool:
    """Whether what nobody vouches for is worth a query: it claims something ahead of us, cannot be read, wants a link, or to know."""
    if reading.claim is Claim.WANTED:
        return links.renewable(task)
    if reading.claim is Claim.ASKED:
        return asking.askable(task)
    if task.final_at is not None:
        return False
    if task.provider_task_id is None or reading.provider_task_id not in (None, task.provider_task_id):
        return True  # it may name a job that we look for, or it names another: either way our own is asked after
    if reading.claim in (Claim.ACCEPTED, Claim.WAITING):
        return False
    if reading.claim is Claim.RUNNING:
        return task.status is TaskStatus.PROCESSING and task.phase != "running"
    return True


def _claim(seen: Observation) -> Claim:
    """The claim, as far as its source can make it."""
    if seen.source is Source.SUBMIT:
        names_a_job = seen.claim in JOB_CLAIMS and seen.reading.provider_task_id is not None
        silent = (Claim.UNKNOWN, Claim.ABSENT, Claim.UNREACHABLE, *RINGS_ONLY, *JOB_CLAIMS, *ORDERS)
        # Whatever answers a purchase and neither names a job nor refuses one may have made it.
        return Claim.AMBIGUOUS if seen.claim in silent and not names_a_job else seen.claim
    # Only the reply to a purchase can say that nothing was bought, and only a person gives orders.
    foreign = seen.claim in REPLIES_ONLY or (seen.claim in ORDERS and seen.source is not Source.OPERATOR)
    return Claim.UNKNOWN if foreign else seen.claim
