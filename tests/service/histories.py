"""One true history of a provider's job, and everything that may be heard of it: pushes, answers and replies, in any order.

A `Step` is meant so that it makes sense at every moment; what it amounts to is decided when its turn comes. So any list of
steps is a schedule, and a failing one shrinks to a short one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias, TypeVar

import orjson
from hypothesis import strategies as st

from service.core.observation import Claim, Reading
from service.providers.base import Account, BadReply, Clues, Flow, Push, Reply
from service.providers.registry import PROVIDERS
from storage.records import Task

CLOUDSWAY = PROVIDERS["cloudsway"]
ACCOUNT = Account(name="cloudsway", provider="cloudsway", endpoint_path="tenant-1")
CLUES = Clues(ours=lambda url: False, since=0, until=0)
T = TypeVar("T")


class Says(StrEnum):
    """What a push claims."""

    TRUE = "true"  # what the job was at some moment so far, as its provider says it
    BARE = "bare"  # the same, without our id
    AHEAD = "ahead"  # the end, before the query shows it
    CONTRARY = "contrary"  # the other end
    FOREIGN = "foreign"  # the end of a job that is not ours
    STRANGE = "strange"  # a word nobody knows
    GARBAGE = "garbage"


class Shows(StrEnum):
    """What a query answers."""

    JOB = "job"
    ABSENT = "absent"
    STRANGE = "strange"
    NOTHING = "nothing"  # it failed


@dataclass(frozen=True, slots=True)
class Move:
    """The job moves on."""


@dataclass(frozen=True, slots=True)
class Wait:
    seconds: float


@dataclass(frozen=True, slots=True)
class Pushed:
    """A push arrives: of the state `back` states ago, so many times."""

    says: Says = Says.TRUE
    back: int = 0
    times: int = 1
    signed: bool = True


@dataclass(frozen=True, slots=True)
class Asked:
    """The provider is asked, and reads a state `lag` states old. Its answer is recorded some time later."""

    shows: Shows = Shows.JOB
    lag: int = 0


@dataclass(frozen=True, slots=True)
class Answered:
    """One of the answers that are on their way is recorded."""

    place: int = 0


@dataclass(frozen=True, slots=True)
class Replied:
    """The reply to the purchase is recorded, or that none came. There is one reply."""

    lost: bool = False


@dataclass(frozen=True, slots=True)
class Restarted:
    """The process ends and another takes over."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What was heard so far is one batch."""


Step: TypeAlias = Move | Wait | Pushed | Asked | Answered | Replied | Restarted | Committed

LONGEST = 480.0  # in all: shorter than what makes a job that is not found believed gone, and far from any deadline

PUSHES = st.builds(
    Pushed,
    st.sampled_from([Says.TRUE, Says.TRUE, *Says]),
    st.integers(0, 4),
    st.sampled_from([1, 1, 1, 1, 2, 3, 100]),
    st.booleans(),
)
STEPS: st.SearchStrategy[Step] = st.one_of(
    PUSHES,
    PUSHES,
    st.builds(Asked, st.sampled_from([Shows.JOB, Shows.JOB, Shows.JOB, *Shows]), st.integers(0, 4)),
    st.builds(Answered, st.integers(0, 3)),
    st.just(Committed()),
    st.just(Move()),
    st.builds(Wait, st.sampled_from([0.001, 1.0, 2.5, 30.0])),
    st.builds(Replied, st.sampled_from([False, False, True])),
    st.just(Restarted()),
)
SCHEDULES = st.lists(STEPS, min_size=12, max_size=40)


@dataclass
class Job:
    """The provider's job, which has one history."""

    id: str
    task_id: str
    failed: bool
    without_output: bool = False  # for a while its success word comes without a link
    now: int = 0
    numbers: int = 0
    states: Sequence[str] = field(init=False)

    def __post_init__(self) -> None:
        end = "failed" if self.failed else "succeeded"
        between = ["succeeded-empty"] if self.without_output and not self.failed else []
        self.states = ["submitted", "processing", "processing-on", *between, end]

    @property
    def output(self) -> str:
        return f"https://cdn.example.net/{self.id}.mp4"

    @property
    def ended(self) -> bool:
        return self.now == len(self.states) - 1

    def move(self) -> None:
        self.now = min(self.now + 1, len(self.states) - 1)

    def shown(self, back: int = 0) -> dict[str, object]:
        """The job as it was some states ago."""
        return self._as(self.states[max(0, self.now - back)])

    def push(self, step: Pushed) -> bytes:
        """The bytes of a push. The same claim is the same bytes, but for those that vary by nature."""
        match step.says:
            case Says.TRUE:
                said = self.shown(step.back)
            case Says.BARE:
                said = {name: value for name, value in self.shown(step.back).items() if name != "external_id"}
            case Says.AHEAD:
                said = self._as(self.states[-1])
            case Says.CONTRARY:
                contrary = Job(id=self.id, task_id=self.task_id, failed=not self.failed)
                said = contrary._as(contrary.states[-1]) | {
                    "outputs": [{"type": "video", "url": "https://evil.example/v.mp4"}]
                }
            case Says.FOREIGN:
                other = f"task_{step.back}" if step.back else None
                said = self._as("succeeded") | {"id": f"{self.id}9{step.back}", "external_id": other}
            case Says.STRANGE:
                said = self.shown() | {"status": ["reviewing", "", 7, None, {}][step.back]}
            case Says.GARBAGE:
                self.numbers += 1
                return [b"", b"null", b"\xff\xfe", b"[" * 500, b'{"id":'][step.back] + b" " * self.numbers
        return orjson.dumps(said)

    def _as(self, state: str) -> dict[str, object]:
        word = state.split("-")[0]
        shown: dict[str, object] = {"id": self.id, "status": word, "external_id": self.task_id, "message": ""}
        if state == "succeeded":
            shown["outputs"] = [{"type": "video", "url": self.output, "duration": "5.041"}]
        if state in ("succeeded", "failed"):
            shown["message"] = "The generation failed" if word == "failed" else ""
            amount = "0" if word == "failed" else "5"
            shown["billing"] = [{"charge_type": "unit", "amount": amount, "package_type": "video"}]
        return shown


def read_push(body: bytes) -> Reading:
    return CLOUDSWAY.read(Push(headers={}, body=body))


def read_answer(job: Job, task: Task, asked: Asked) -> Reading:
    """What the adapter makes of a query's answer: by the job's own id where the task is bound, else by ours."""
    if asked.shows is Shows.NOTHING:
        return Reading(claim=Claim.UNREACHABLE, detail="it failed")
    listed = [] if asked.shows is Shows.ABSENT else [job.shown(asked.lag)]
    if asked.shows is Shows.STRANGE:
        listed[0]["status"] = "reviewing"
    body = orjson.dumps({"code": 0, "message": "SUCCEED", "data": listed})
    if task.provider_task_id is None:
        return answer(CLOUDSWAY.look_up(ACCOUNT, task, CLUES), body)
    return answer(CLOUDSWAY.query(ACCOUNT, [task]), body)[task.id]


def answer(flow: Flow[T], body: bytes) -> T:
    next(flow)
    try:
        flow.send(Reply(status=200, body=body))
    except StopIteration as ended:
        found: T = ended.value
        return found
    except BadReply as error:
        raise AssertionError("the answer was meant to be readable") from error
    raise AssertionError("it asks twice")
