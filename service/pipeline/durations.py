"""Learns from what is recorded how long jobs take, and tells how long the next one may.

Apart from recording: ends are noted after their commit, in memory, and stored together every few seconds. What a crash
loses of them is a few examples among a hundred.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from service.core.durations import Curve, Window, learned, stated
from service.core.lifecycle import Outcome
from service.core.observation import Claim, Observation, Source
from service.pipeline.ledger import NO_ACCOUNT, AccountRules, Callback, Recorded
from storage import durations as rows
from storage.database import Connection, Database
from storage.durations import Kind
from storage.records import Task, TaskStatus

SECOND = 1_000_000
EVERY_SECONDS = 5.0
LOOK_EVERY = 12  # rounds: once a minute, at what other replicas have learned
FOLLOWED = 20_000  # tasks whose last answer is remembered; of others an end is known less exactly
WAITING = 2_000  # ends not yet stored; of more only the latest
KINDS = 1_000
VERDICTS = (TaskStatus.SUCCEEDED, TaskStatus.FAILED)
END_CLAIMS = (Claim.SUCCEEDED, Claim.FAILED)
ALIVE = (Claim.WAITING, Claim.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is known of one kind of job, for people. `jobs`: how many there ever were."""

    kind: Kind
    jobs: int
    p10: float
    p50: float
    p90: float


class Durations:
    """Every kind's window and curve. `accounts`: what each one's contract states."""

    def __init__(self, database: Database, accounts: Mapping[str, AccountRules], *, clock: Callable[[], int]) -> None:
        self._database = database
        self._accounts = accounts
        self._clock = clock
        self._windows: dict[Kind, Window] = {}
        self._curves: dict[Kind, Curve] = {}
        self._alive: dict[str, int] = {}  # when the provider was last asked after a task that was not done
        self._rung: dict[str, int] = {}  # when a push first claimed its end
        self._ended: deque[tuple[Task, float, float]] = deque(maxlen=WAITING)
        self._rounds = 0

    def curve(self, task: Task) -> Curve:
        """How long such jobs take, as far as is known."""
        kind = kind_of(task)
        known = self._curves.get(kind) or self._curves.get(kind._replace(seconds=0, level=""))
        return known or stated(self._accounts.get(task.account, NO_ACCOUNT).expected_seconds)

    def told(self, account: str) -> list[Told]:
        """What is known of an account's jobs: of each model as a whole, and of each of its kinds."""
        return [
            Told(
                kind=kind,
                jobs=window.count,
                p10=curve.quantile(0.1),
                p50=curve.quantile(0.5),
                p90=curve.quantile(0.9),
            )
            for kind, window in sorted(self._windows.items())
            if kind.account == account and window.spans and (curve := self._curves.get(kind)) is not None
        ]

    def heard(self, seen: Sequence[Observation | Callback], recorded: Sequence[Recorded]) -> None:
        """Note what a commit says of jobs: that one was not done when we asked, or that it is. Cheap, and never fails."""
        for one, became in zip(seen, recorded, strict=True):
            task = became.task
            if task is None or task.submitted_at is None:
                continue
            if isinstance(one, Observation) and one.account not in (None, task.account):
                continue
            if isinstance(one, Observation) and one.prompted_by is Claim.WANTED:
                continue  # it was done long ago, and that was learned then
            if task.finished_at is None:
                self._open(one, task)
            elif became.outcome is Outcome.CHANGED and task.final_at is not None:
                self._end(one, task, task.submitted_at, task.finished_at)

    def _open(self, one: Observation | Callback, task: Task) -> None:
        if isinstance(one, Callback):
            if one.reading.claim in END_CLAIMS and task.id not in self._rung:
                _remember(self._rung, task.id, self._clock())
        elif one.source is Source.POLL and one.claim in ALIVE:
            _remember(self._alive, task.id, one.at)
            if self._rung.get(task.id, one.at) < one.at:
                del self._rung[task.id]  # that push was wrong, or forged

    def _end(self, one: Observation | Callback, task: Task, submitted_at: int, finished_at: int) -> None:
        """By our own clock alone: what a provider says of its times may be in any zone, or made up."""
        alive_at, rung_at = self._alive.pop(task.id, None), self._rung.pop(task.id, None)
        late_start = task.submission_deadline_at is not None and submitted_at > task.submission_deadline_at
        if task.status not in VERDICTS or late_start or finished_at <= submitted_at:
            return  # found by a look-up long after it began, or all in one message: nobody saw how long it took
        if isinstance(one, Callback):
            after = by = finished_at
        elif one.source is not Source.POLL:
            return
        elif rung_at is not None:
            after = by = rung_at
        else:
            after, by = alive_at or submitted_at, finished_at
        self._ended.append((task, (after - submitted_at) / SECOND, (by - submitted_at) / SECOND))

    async def run_once(self) -> int:
        """Store what was noted, and now and then see what others have stored."""
        if self._rounds % LOOK_EVERY == 0:
            await self.load()
        self._rounds += 1
        await self.store()
        return 0

    async def store(self) -> None:
        ends: dict[Kind, list[tuple[float, float]]] = defaultdict(list)
        while self._ended:
            task, after, by = self._ended.popleft()
            kind = kind_of(task)
            for one in {kind, kind._replace(seconds=0, level="")}:
                if one in self._windows or one in ends or len(self._windows) + len(ends) < KINDS:
                    ends[one].append((after, by))
        if ends:
            await self._learn(await self._database.write(lambda tx: self._store(tx, ends)))

    async def load(self) -> None:
        """Read what is stored: at the start, and when another replica may have learned something."""
        stored = await self._database.read(lambda tx: rows.every(tx, bound=KINDS))
        found = {kind: Window.load(text) for kind, text in stored.items() if kind.account in self._accounts}
        await self._learn({kind: window for kind, window in found.items() if window != self._windows.get(kind)})

    async def _store(self, tx: Connection, ends: Mapping[Kind, list[tuple[float, float]]]) -> dict[Kind, Window]:
        stored = await rows.lock(tx, list(ends))
        windows = {kind: Window.load(stored.get(kind)).seen(spans) for kind, spans in ends.items()}
        await rows.save(tx, {kind: window.dump() for kind, window in windows.items()}, now=self._clock())
        return windows

    async def _learn(self, windows: Mapping[Kind, Window]) -> None:
        """Work out the curves of these kinds, a model's as a whole first: its kinds begin with what that one says."""
        for kind, window in sorted(windows.items()):
            expected = self._accounts.get(kind.account, NO_ACCOUNT).expected_seconds
            whole = self._curves.get(kind._replace(seconds=0, level=""))
            self._windows[kind] = window
            self._curves[kind] = learned(window, whole or stated(expected))
            await asyncio.sleep(0)  # each takes milliseconds of arithmetic: others may go between


def kind_of(task: Task) -> Kind:
    """The kind of job a task is, by its effective input."""
    wanted = orjson.loads(task.input)
    seconds, level = wanted.get("duration"), wanted.get("resolution") or wanted.get("mode") or ""
    return Kind(task.account, task.model, seconds if type(seconds) is int else 0, str(level)[:32])


def _remember(times: dict[str, int], task_id: str, at: int) -> None:
    """The latest are kept, and the oldest forgotten."""
    times.pop(task_id, None)
    if len(times) >= FOLLOWED:
        del times[next(iter(times))]
    times[task_id] = at
