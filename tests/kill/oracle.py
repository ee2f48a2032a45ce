"""Judges a run by what the provider and the subscriber saw, never by what the service says alone.

`after_kill` looks at the file a dead process left, `at_end` at everything once the installation is quiet.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from service.sandbox.jobs import Asked, Job, Phase
from service.sandbox.world import World
from tests.kill.client import NOT_TAKEN, Client
from tests.kill.facts import Facts, TaskFact
from tests.kill.plan import Kind
from tests.kill.receiver import Receipt

IN_FLIGHT = 8  # attempts of one endpoint at a time …
SETTLED_TOGETHER = 64  # … and results that may wait for their commit
SECOND = 1_000_000
IN_DOUBT_SECONDS = 5.0  # a submission is answered by its deadline, four seconds, or in doubt
SPOILT = ("lost-reply", "status-after", "garbage", "hang-after")
ENDS = ("task.succeeded", "task.failed", "task.canceled", "task.expired")
SUBSCRIBED = (*ENDS, "task.unconfirmed", "task.conflict")
COUNTS = (
    "acked",
    "tasks lost",
    "double submissions",
    "unannounced creates",
    "acked pushes lost",
    "unbound jobs",
    "wrong ends",
    "not visible",
    "needless doubt",
    "second ends",
    "events lost",
    "bad signatures",
    "changed bodies",
    "needless duplicates",
    "too many duplicates",
    "bad answers",
    "unexplained",
    "not quiet",
    "service errors",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A broken promise. `rule` is one of COUNTS."""

    rule: str
    what: str
    task_id: str = ""
    kill: int | None = None

    def __str__(self) -> str:
        where = "at the end" if self.kill is None else f"after kill {self.kill}"
        return f"{self.rule} {where}: {self.what}"


@dataclass(slots=True, kw_only=True)
class Oracle:
    """Everything one installation's outside saw."""

    kind: Kind
    world: World
    client: Client
    receipts: Sequence[Receipt]
    deaths: list[float] = field(default_factory=list)  # when each life had ended
    stalls: list[tuple[float, float]] = field(
        default_factory=list
    )  # from when to when the provider stood still with this machine
    in_doubt_seconds: float = IN_DOUBT_SECONDS
    lost: Counter[str] = field(default_factory=Counter)  # receipts per event that no life stored, up to the last kill

    def after_kill(self, facts: Facts, kill: int) -> list[Violation]:
        """What must hold the moment a process is dead: everything acknowledged is on disk, and every purchase announced."""
        found = [*self._unstored_tasks(facts), *self._unannounced(facts), *self._lost_pushes(facts)]
        found += self._unsettled(facts)
        return [Violation(rule=one.rule, what=one.what, task_id=one.task_id, kill=kill) for one in found]

    def at_end(self, facts: Facts) -> list[Violation]:
        """What must hold once everybody had time to finish."""
        return [
            *self._unstored_tasks(facts),
            *self._unannounced(facts),
            *self._lost_pushes(facts),
            *self._bought_twice(),
            *self._ends(facts),
            *self._events(facts),
            *self._deliveries(facts),
            *(Violation(rule="bad answers", what=text) for text in self.client.bad),
        ]

    def jobs(self, facts: Facts) -> dict[str, list[Job]]:
        by_prompt = {task.prompt: task.id for task in facts.tasks.values()}
        found: dict[str, list[Job]] = {task_id: [] for task_id in facts.tasks}
        for job in self.world.jobs.values():
            found.setdefault(job.external_id or by_prompt.get(job.prompt, ""), []).append(job)
        return found

    def held(self, task: TaskFact, jobs: Sequence[Job]) -> bool:
        """Whether `unconfirmed` is as far as this task can come: nobody can be asked, or nothing is there to be found."""
        if task.status != "unconfirmed":
            return False
        return not self.kind.look_up or (not jobs and (not self.kind.resends or task.resends > 0))

    def _unstored_tasks(self, facts: Facts) -> Iterator[Violation]:
        for order in self.client.acked:
            if order.id != NOT_TAKEN and order.id not in facts.tasks:
                yield Violation(
                    rule="tasks lost", what=f"{order.reference} was acknowledged as {order.id}; no such row"
                )

    def _unannounced(self, facts: Facts) -> Iterator[Violation]:
        """The nth create the provider got of a task must follow the nth submission on disk."""
        by_prompt = {task.prompt: task.id for task in facts.tasks.values()}
        creates: dict[str, list[Asked]] = defaultdict(list)
        for asked in self.world.requests:
            broken_off = asked.status is None and not asked.told  # its sender died between two writes
            if asked.kind == "create" and not broken_off:
                prompt = str(asked.told.get("prompt", ""))
                creates[by_prompt.get(prompt, f"no task has the prompt {prompt!r}")].append(asked)
        for task_id, seen in creates.items():
            announced = facts.submissions.get(task_id, [])
            for place, asked in enumerate(sorted(seen, key=lambda asked: asked.at)):
                if place >= len(announced):
                    what = f"{task_id}: the provider got create {place + 1}, {len(announced)} submissions are stored"
                    yield Violation(rule="unannounced creates", what=what, task_id=task_id)
                elif announced[place] > asked.at * SECOND:
                    what = f"{task_id}: create {place + 1} came at {asked.at}, its submission is of {announced[place]}"
                    yield Violation(rule="unannounced creates", what=what, task_id=task_id)

    def _lost_pushes(self, facts: Facts) -> Iterator[Violation]:
        for job in self.world.jobs.values():
            for push in job.pushes:
                acked = any(one.status is not None and 200 <= one.status < 300 for one in push.attempts)
                if acked and hashlib.sha256(push.body).digest() not in facts.pushes:
                    what = f"{job.external_id or job.prompt}: the push {push.word!r} of {job.id} was acknowledged"
                    yield Violation(rule="acked pushes lost", what=what, task_id=job.external_id or "")

    def _unsettled(self, facts: Facts) -> Iterator[Violation]:
        """What a kill may repeat: attempts in flight and those whose result was not stored."""
        sent = Counter(receipt.event_id for receipt in self.receipts)
        now = Counter(
            {event_id: sent[event_id] - event.attempts for event_id, event in facts.events.items() if event.wanted}
        )
        more = +(now - self.lost)
        if more.total() > IN_FLIGHT + SETTLED_TOGETHER:
            yield Violation(rule="too many duplicates", what=f"{more.total()} attempts were not stored at one kill")
        self.lost = +now

    def _bought_twice(self) -> Iterator[Violation]:
        for key, count in self.world.accepted.get(self.kind.name, Counter()).items():
            if count > 1:
                task_id = key if self.kind.resends else ""
                yield Violation(rule="double submissions", what=f"{key} was bought {count} times", task_id=task_id)

    def _ends(self, facts: Facts) -> Iterator[Violation]:
        by_task = self.jobs(facts)
        for task_id in by_task.keys() - facts.tasks.keys():
            yield Violation(rule="unbound jobs", what=f"{[job.id for job in by_task[task_id]]} belong to no task")
        for task in facts.tasks.values():
            yield from self._end(task, by_task[task.id], facts.submissions.get(task.id, []))

    def _end(self, task: TaskFact, jobs: Sequence[Job], announced: Sequence[int]) -> Iterator[Violation]:
        told = f"{task.id} ({task.reference}) is {task.status}, jobs {[(job.id, job.word) for job in jobs]}"
        bound = [job for job in jobs if job.id == task.provider_task_id]
        if jobs and not bound and self.kind.look_up:
            yield Violation(rule="unbound jobs", what=told, task_id=task.id)
        elif jobs and not bound and task.status != "unconfirmed":
            yield Violation(rule="not visible", what=told, task_id=task.id)
        elif not self._right(task, jobs, bound):
            yield Violation(rule="wrong ends", what=told, task_id=task.id)
        elif task.status == "unconfirmed" and not self._excused(task, announced):
            yield Violation(rule="needless doubt", what=told, task_id=task.id)

    def _right(self, task: TaskFact, jobs: Sequence[Job], bound: Sequence[Job]) -> bool:
        """Whether the status tells what the provider did."""
        if bound:
            return task.status == ("failed" if bound[0].phase is Phase.FAILED else "succeeded")
        return self.held(task, jobs) or (not jobs and task.status == "failed" and "refuse" in task.prompt)

    def _excused(self, task: TaskFact, announced: Sequence[int]) -> bool:
        """Whether a purchase may be in doubt: its answer was spoilt or came too late, or somebody died before it could be recorded."""
        if any(word in task.prompt for word in SPOILT):
            return True
        if any(
            at <= until * SECOND and began * SECOND <= at + self.in_doubt_seconds * SECOND
            for at in announced
            for began, until in self.stalls
        ):
            return True
        return any(
            at <= death * SECOND <= at + self.in_doubt_seconds * SECOND for at in announced for death in self.deaths
        )

    def _events(self, facts: Facts) -> Iterator[Violation]:
        by_task: dict[str, list[str]] = defaultdict(list)
        sequences: dict[str, list[int]] = defaultdict(list)
        for event in facts.events.values():
            sequences[event.task_id].append(event.sequence)
            if event.hard or event.type in ENDS:
                by_task[event.task_id].append("hard" if event.hard else "soft")
        for task in facts.tasks.values():
            ends = by_task[task.id]
            if ends not in ([], ["hard"], ["soft"], ["soft", "hard"]) or bool(ends) != task.finished:
                yield Violation(rule="second ends", what=f"{task.id} has the ends {ends}", task_id=task.id)
            if sequences[task.id] != sorted(set(sequences[task.id])):
                yield Violation(rule="second ends", what=f"{task.id}: sequences {sequences[task.id]}", task_id=task.id)
            if task.status == "unconfirmed" and not any(
                event.type == "task.unconfirmed" for event in facts.events.values() if event.task_id == task.id
            ):
                yield Violation(rule="not visible", what=f"{task.id}: nobody was told", task_id=task.id)

    def _deliveries(self, facts: Facts) -> Iterator[Violation]:
        got: dict[str, list[Receipt]] = defaultdict(list)
        for receipt in self.receipts:
            got[receipt.event_id].append(receipt)
            if receipt.reason is not None:
                yield Violation(rule="bad signatures", what=f"{receipt.event_id}: {receipt.reason}")
            if receipt.event_id not in facts.events:
                yield Violation(rule="changed bodies", what=f"{receipt.event_id} was sent and is not stored")
            elif receipt.body != facts.events[receipt.event_id].body:
                yield Violation(rule="changed bodies", what=f"{receipt.event_id}: {receipt.body[:200]!r}")
        for event in facts.events.values():
            told = f"{event.id} ({event.type}) of {event.task_id}"
            if event.type in SUBSCRIBED and not (
                event.wanted and event.delivered and any(receipt.heard for receipt in got[event.id])
            ):
                yield Violation(rule="events lost", what=told, task_id=event.task_id)
            for before, after in zip(got[event.id], got[event.id][1:], strict=False):
                # After a success only a death in between explains a second attempt; what failed is tried again anyway.
                died = any(before.at <= death <= after.at for death in self.deaths)
                if 200 <= before.status < 300 and not died:
                    yield Violation(rule="needless duplicates", what=told, task_id=event.task_id)

    @property
    def duplicates(self) -> int:
        """Attempts after one that was heard."""
        heard: set[str] = set()
        count = 0
        for receipt in self.receipts:
            count += receipt.event_id in heard
            if 200 <= receipt.status < 300:
                heard.add(receipt.event_id)
        return count
