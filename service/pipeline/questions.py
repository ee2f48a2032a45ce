"""What to ask an account after: tasks whose pushes ring, jobs that are due, purchases of unknown fate. Nobody twice in two seconds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import orjson

from service.core import lifecycle
from service.core.observation import Claim, Reading
from service.core.times import SECOND
from service.pipeline.accounts import AccountDesk
from service.pipeline.due import Round
from storage.callbacks import Bell
from storage.records import Task

ASK_AGAIN_SECONDS = 2.0  # pushes of one task cause one query in this time at most
COUNTS = (Claim.SUCCEEDED, Claim.FAILED, Claim.WANTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One request after bound tasks, or a look-up of one. `prompts`, `heard`: task id → what a push claimed, and when."""

    tasks: tuple[Task, ...]
    prompts: Mapping[str, Claim] = field(default_factory=dict)
    heard: Mapping[str, int] = field(default_factory=dict)
    look_up: bool = False
    rung: bool = False


@dataclass(slots=True, kw_only=True)
class Bells:
    """Pushes that wait for a query. `needless`: those that say nothing new, to be put to rest."""

    claims: dict[str, Claim]
    heard: dict[str, int]  # when the push came whose claim counts
    strangers: set[str]  # tasks of which a push names another job than theirs: one too many, or nonsense
    needless: list[Bell]
    ringing: list[Task]


class Questions:
    """Makes questions of rows, and remembers whom they were about."""

    def __init__(
        self, account: AccountDesk, *, clock: Callable[[], int], later: Callable[[int], None], buying: Collection[str]
    ) -> None:
        """`later`: told when a task that is left out now may be asked after. `buying`: tasks that are being bought."""
        self._account = account
        self._name = account.account.name
        self._clock = clock
        self._later = later
        self._buying = buying
        self._asking: set[str] = set()
        self._rung_at: dict[str, int] = {}  # when a push last made us ask after a task
        self._asked_at: dict[str, int] = {}  # when anything did

    def __len__(self) -> int:
        """How many tasks are being asked after."""
        return len(self._asking)

    def begin(self, question: Question) -> None:
        for task in question.tasks:
            self._asking.add(task.id)
            self._note(self._asked_at, task.id)
            if question.rung:
                self._note(self._rung_at, task.id)

    def end(self, question: Question) -> None:
        self._asking -= {task.id for task in question.tasks}

    def busy(self, task_id: str) -> bool:
        """Whether an answer about it is on the way."""
        return task_id in self._asking or task_id in self._buying

    # Bells

    def bells(self, found: Round) -> Bells:
        """All bells of a task ring once; the claim of an end is the one that counts, and after the end that a link is wanted."""
        claims: dict[str, Claim] = {}
        heard: dict[str, int] = {}
        needed: set[str] = set()
        strangers: set[str] = set()
        for bell in found.bells:
            task_id, claim = bell.task_id, Claim(bell.claim)
            if task_id not in claims or claim in COUNTS:
                claims[task_id] = claim
                if claim not in lifecycle.RINGS_ONLY:
                    heard[task_id] = bell.seen_at
            if task_id in found.rung and self._worth_asking(found.rung[task_id], claim):
                needed.add(task_id)
                if self._names_another(found.rung[task_id], bell.content):
                    strangers.add(task_id)
        return Bells(
            claims=claims,
            heard=heard,
            strangers=strangers,
            needless=[bell for bell in found.bells if bell.task_id not in needed],
            ringing=[found.rung[task_id] for task_id in claims if task_id in needed],
        )

    def _worth_asking(self, task: Task, claim: Claim) -> bool:
        """Of a task that has gone on to another account only a job too many matters, and that can only be looked for."""
        if task.account != self._name or (claim is Claim.ASKED and task.provider_task_id is None):
            return self._account.provider.traits.look_up
        return lifecycle.rings(task, Reading(claim=claim))

    def _names_another(self, task: Task, content: str) -> bool:
        """Only a look-up by our own id, or by the callback URL that was pushed to, can say whether that one is ours as well."""
        if task.provider_task_id is None or not self._account.provider.traits.look_up:
            return False
        named = orjson.loads(content).get("provider_task_id")
        known = {task.provider_task_id, *(one.provider_task_id for one in task.surplus)}
        return named is not None and named not in known

    def of_bells(self, bells: Bells) -> Iterator[Question]:
        """One question for all pushes of a task, at most every two seconds."""
        bound: list[Task] = []
        for task in bells.ringing:
            if self.busy(task.id) or self._too_soon(self._rung_at, task):
                continue  # the bell stays until a later query answers it
            if task.provider_task_id is not None and task.account == self._name and task.id not in bells.strangers:
                bound.append(task)
            # The contract's own ability: a late push leads to a job even where nothing else of this account could.
            elif self._account.provider.traits.look_up:
                yield Question(tasks=(task,), look_up=True, rung=True)
        for batch in self._batches(bound):
            yield Question(
                tasks=batch,
                prompts={task.id: bells.claims[task.id] for task in batch},
                heard={task.id: bells.heard[task.id] for task in batch if task.id in bells.heard},
                rung=True,
            )

    # What is due

    def of_bound(self, due: Iterable[Task], *, without: Collection[str] = ()) -> Iterator[Question]:
        """`without`: tasks that another question of this round is about."""
        wanted = [
            task
            for task in due
            if task.provider_task_id is not None and task.id not in without and not self._just_asked(task)
        ]
        for batch in self._batches(wanted):
            yield Question(tasks=batch)

    def of_unconfirmed(self, due: Iterable[Task], *, without: Collection[str] = ()) -> Iterator[Question]:
        for task in due:
            if task.id not in without and task.id not in self._buying and not self._just_asked(task):
                yield Question(tasks=(task,), look_up=True)

    def _batches(self, tasks: list[Task]) -> Iterator[tuple[Task, ...]]:
        size = self._account.provider.traits.batch
        for start in range(0, len(tasks), size):
            yield tuple(tasks[start : start + size])

    def _just_asked(self, task: Task) -> bool:
        """A task that is still due although it was just asked after (its answer could not be stored) waits a moment."""
        return task.id in self._asking or self._too_soon(self._asked_at, task)

    def _too_soon(self, times: Mapping[str, int], task: Task) -> bool:
        again_at = times.get(task.id, 0) + int(ASK_AGAIN_SECONDS * SECOND)
        if again_at <= self._clock():
            return False
        self._later(again_at)
        return True

    def _note(self, times: dict[str, int], task_id: str) -> None:
        """Remember when a task was asked after; what is too old to matter is forgotten."""
        if len(times) > 1000:
            oldest = self._clock() - int(ASK_AGAIN_SECONDS * SECOND)
            for known in [known for known, at in times.items() if at <= oldest]:
                del times[known]
        times[task_id] = self._clock()
