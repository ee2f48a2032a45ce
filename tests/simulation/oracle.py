"""What must hold, looked at after every commit and at the end. It reads the database and the world, never the service's memory."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from service.net.sender import Sent
from service.sandbox.jobs import Phase
from tests.simulation.ends import Ends
from tests.simulation.faults import Order
from tests.simulation.row import ENDS, TASKS, Row

if TYPE_CHECKING:
    from tests.simulation.machine import Machine
    from tests.simulation.simulation import Simulation

CONVERGE_SECONDS = 600.0
CHANGED = """
    SELECT (SELECT coalesce(sum(version), 0) + count(*) FROM tasks), (SELECT coalesce(max(position), 0) FROM events),
           (SELECT coalesce(sum(epoch), 0) * 1000 + count(owner) FROM lanes), (SELECT count(*) FROM lanes WHERE breaker IS NOT NULL),
           (SELECT count(*) FROM callbacks)
"""


class Oracle:
    """Follows one simulation."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.ends = Ends(sim, self)
        self.violations: list[str] = []
        self.orders: dict[str, Order] = {}  # by task id, once the client was told
        self.allowed: Counter[str] = Counter()  # jobs of a prompt beyond the first that somebody asked for
        self.tasks: dict[str, Row] = {}
        self.ever: dict[str, str] = {}  # task → project, restored away or not
        self.events: dict[str, list[tuple[str, int, int, str]]] = defaultdict(list)
        self.acks: Counter[tuple[str, str]] = Counter()  # deliveries whose sender heard a 2xx
        self.excused: Counter[tuple[str, str]] = Counter()
        self.started: dict[tuple[str, str], int] = {}
        self.sent_at: dict[tuple[str, str, int], float] = {}
        self.epochs: dict[tuple[str, str], int] = {}
        self.owners: dict[tuple[str, str], str | None] = {}
        self.breakers: dict[tuple[str, str], dict[str, Any]] = {}
        self.forgotten: set[str] = set()  # prompts of tasks that a restore took away
        self.pushed: set[tuple[str, bytes]] = set()
        self._seen: tuple[int, ...] = ()
        self._db: sqlite3.Connection | None = None

    # What the world tells

    def broken(self, rule: str, text: str) -> None:
        told = f"{rule}: {text}"
        if told not in self.violations:
            self.sim.note("VIOLATION", rule, text)
            self.violations.append(told)

    def acknowledged(self, order: Order, task_id: str) -> None:
        self.orders[task_id] = order

    def may_buy_again(self, order: Order) -> None:
        self.allowed[order.prompt] += 1

    def project_of(self, task_id: str) -> str | None:
        return self.ever.get(task_id)

    def status_of(self, task_id: str) -> str | None:
        row = self.tasks.get(task_id)
        return row.status if row is not None else None

    def attempt_started(self, url: str, headers: Mapping[str, str], body: bytes) -> None:
        sim, event, number = self.sim, headers["webhook-id"], int(headers["taskrelay-attempt"])
        key = (url, event)
        self.started[key] = max(self.started.get(key, 0), number)
        party = sim.subscribers.parties.get(url)
        if party is not None and (wish := party.not_before.get(event)) is not None and number > wish[1]:
            # A later number means that the answer before it was heard and stored.
            if sim.loop.time() < wish[0] - 0.1 and not sim.clock_jumped and (url, event, wish[1]) in self.sent_at:
                self.broken("Retry-After", f"{url}: {event} was asked to wait until {wish[0]:.1f}")
            elif (url, event, wish[1]) in self.sent_at:
                sim.mark("Retry-After obeyed")

    def attempt_heard(self, url: str, headers: Mapping[str, str], sent: Sent) -> None:
        key = (url, headers["webhook-id"])
        if sent.status_code is not None:
            self.sent_at[url, headers["webhook-id"], int(headers["taskrelay-attempt"])] = self.sim.loop.time()
        if sent.error_class is None:
            self.acks[key] += 1
            if self.acks[key] > 1 and self.excused[key]:
                self.sim.mark("duplicate after kill")

    # After every commit

    @property
    def db(self) -> sqlite3.Connection:
        if self._db is None:
            self._db = sqlite3.connect(self.sim.path, isolation_level=None, cached_statements=64)
        return self._db

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def restored(self) -> None:
        """The database is an older one: what came after it was lost with the owner's consent."""
        before = dict(self.tasks)
        self.close()
        self._seen, self.epochs, self.owners = (), {}, {}
        self.tasks = {row.id: row for row in self.read()}
        self.forgotten = {row.prompt for name, row in before.items() if name not in self.tasks}
        self.forgotten |= {
            order.prompt
            for order in self.sim.plan.orders
            if not any(order.prompt == row.prompt for row in self.tasks.values())
        }
        self.events.clear()
        # The same facts get the same ids, but another time stands in them; what was sent before may still be on its way.
        self.sim.subscribers.digests.clear()
        self.sim.subscribers.forgotten_until = self.sim.wall() // 1_000_000

    def read(self) -> list[Row]:
        return [Row(*row) for row in self.db.execute(TASKS)]

    def look(self, machine: Machine | None) -> None:
        """Compare what a commit left with what was there."""
        seen = self.db.execute(CHANGED).fetchone()
        if seen == self._seen:
            return
        before, self._seen = self._seen or (0, 0, 0, 0, 0), seen
        if seen[0] != before[0]:
            for row in self.read():
                old = self.tasks.get(row.id)
                if old is None or row.version != old.version:
                    self._task(old, row, machine)
                    self.tasks[row.id] = row
        if seen[1] != before[1]:
            self._new_events(before[1])
        if seen[2:4] != before[2:4] or seen[3]:
            self._lanes()
        if seen[4] > before[4]:
            self.sim.mark("orphan callback")

    def _task(self, old: Row | None, row: Row, machine: Machine | None) -> None:
        sim = self.sim
        self.ever[row.id] = sim.project_names[row.project]
        sim.note(
            "task",
            machine.name if machine else "-",
            f"{row.prompt[21:34]} v{row.version} {row.status} job={row.job is not None}",
        )
        if old is None:
            return
        if row.version < old.version or row.sequence < old.sequence:
            self.broken("I4", f"{row.id} went back from version {old.version} to {row.version}")
        if old.final_at is not None and (row.status, row.outputs, row.job, row.final_at) != (
            old.status,
            old.outputs,
            old.job,
            old.final_at,
        ):
            self.broken("I8", f"{row.id} was {old.status} for good and is {row.status}")
        # The job that a person named is taken off again when the provider shows that it is not the task's.
        if old.job is not None and row.job != old.job and row.account == old.account and old.adopted_at is None:
            self.broken("I8", f"{row.id} was bound to {old.job} and is bound to {row.job}")
        if old.job is None and row.job is not None:
            self._bound(old, row, machine)
        if row.status == "submitting" != old.status and machine is not None:
            machine.reach("intent")
        if row.status == "expired" != old.status:
            self._expired(row)
        if row.account != old.account:
            sim.mark("fail-over")
            if sim.provider.jobs_of(row.prompt):
                self.broken("C16", f"{row.id} went on to {row.account} although a job exists")
        if row.late and not old.late:
            sim.mark("late verdict")
        if row.status == "canceled":
            sim.mark("cancel")
        if row.failure is not None and '"no_output"' in row.failure and old.failure is None:
            sim.mark("no output")
        if row.resends > old.resends and old.status == "unconfirmed":
            by_word = self.allowed[row.prompt] or self.ends.accepted_beforehand(row)
            sim.mark("resend by word" if by_word else "resend after settle")
        self._true(row, old)

    def _bound(self, old: Row, row: Row, machine: Machine | None) -> None:
        sim = self.sim
        job = sim.provider.world.jobs.get(row.job or "")
        if old.status == "unconfirmed":
            sim.mark("late adoption")
        if row.id in sim.provider.refused_twice:
            sim.mark("1201 adoption")
        if old.status == "submitting" and job is not None and any(push.attempts for push in job.pushes):
            sim.mark("callback before reply")
        if machine is not None and machine.service is not None:
            owner = self.db.execute(
                "SELECT owner FROM lanes WHERE kind = 'account' AND key = ?", (row.account,)
            ).fetchone()
            if owner is not None and owner[0] != machine.service.lanes._owner:
                sim.mark("late evidence")
        if job is None or job.prompt != row.prompt:
            self.broken(
                "I2", f"{row.id} is bound to {row.job}, which is " + ("nobody's" if job is None else "another's")
            )

    def _expired(self, row: Row) -> None:
        """Rule 3 of the ends: whoever is up and can ask expires nothing that is well."""
        sim = self.sim
        if sim.wall() < row.deadline_at and "knows no such job" not in (row.failure or ""):
            self.broken("expired", f"{row.id} expired before its deadline: {row.failure}")
        job = sim.provider.world.jobs.get(row.job or "")
        if sim.stormy or sim.quiet_for() < 60 or job is None or not job.phase.ended or job.directives.no_output:
            return
        if job.finished_at is not None and sim.unix() - job.finished_at > 30 and job.prompt == row.prompt:
            self.broken(
                "expired",
                f"{row.id} expired in calm weather although {row.job} has {job.word} for {sim.unix() - job.finished_at:.0f} s",
            )

    def _true(self, row: Row, old: Row) -> None:
        """An end says what the provider said."""
        if row.final_at is None or old.final_at is not None or row.job is None:
            return
        sim = self.sim
        job = sim.provider.world.jobs.get(row.job)
        if job is None:
            return
        words = {change.word for change in job.changes}
        if row.status == "succeeded":
            if row.outputs == "[]":
                self.broken("truth", f"{row.id} succeeded without an output")
            said = job.contract.words[Phase.SUCCEEDED] in words or job.phase is Phase.SUCCEEDED
            if not said and job.prompt not in sim.contradicted:
                self.broken("truth", f"{row.id} succeeded, and its job is {job.word} ({sorted(words)})")
        elif row.status == "failed" and job.phase is not Phase.FAILED and job.prompt not in sim.contradicted:
            self.broken("truth", f"{row.id} failed, and its job is {job.word}")

    def _new_events(self, position: int) -> None:
        rows = self.db.execute(
            "SELECT task_id, type, sequence, hard, id, project_id FROM events WHERE position > ? ORDER BY position",
            (position,),
        ).fetchall()
        for task_id, kind, sequence, hard, event, project in rows:
            if task_id is None:  # of an endpoint, or an account: no task's sequence
                self.sim.note("told", "-", kind)
                continue
            told = self.events[task_id]
            if told and sequence <= told[-1][1]:
                self.broken("I4", f"{task_id}: {kind} has sequence {sequence} after {told[-1][1]}")
            if any(event == known for _, _, _, known in told):
                self.broken("I4", f"{task_id}: {event} was told twice")
            told.append((kind, sequence, hard, event))
            self.sim.note("told", "-", f"{kind} #{sequence}{' hard' if hard else ''}")
            ends = [(one, two) for one, _, two, _ in told if one in ENDS]
            if sum(two for _, two in ends) > 1 or (ends and sum(not two for _, two in ends) > 1):
                self.broken("I4", f"{task_id} has the ends {ends}")
            if len(ends) > 1 and ends[0][1]:
                self.broken("I4", f"{task_id}: {ends[1][0]} came after the hard {ends[0][0]}")
            if len(ends) == 2 and ends[1][1]:
                self.sim.mark("soft then hard end")
            if kind == "task.conflict":
                self._conflict(event)
            if self.ever.get(task_id) not in (None, self.sim.project_names[project]):
                self.broken("I9", f"{event} of {task_id} belongs to another project")

    def _conflict(self, event: str) -> None:
        rows = self.db.execute(
            "SELECT detail FROM timeline WHERE kind = 'conflict' ORDER BY at DESC, version DESC LIMIT 5"
        ).fetchall()
        for (detail,) in rows:
            for kind in ("verdict", "binding"):
                if f'"{kind}"' in detail:
                    self.sim.mark(f"conflict: {kind}")

    def _lanes(self) -> None:
        for kind, key, epoch, owner, breaker in self.db.execute(
            "SELECT kind, key, epoch, owner, breaker FROM lanes ORDER BY kind, key"
        ):
            place = (kind, key)
            if epoch > self.epochs.get(place, 0):
                before = self.owners.get(place)
                if before is not None and before != owner and not self.sim.fleet.is_dead(before):
                    self.sim.mark("take-over")
                if kind == "endpoint":
                    self._excuse(key)
                self.epochs[place] = epoch
            self.owners[place] = owner
            state = json.loads(breaker) if breaker else {}
            known = self.breakers.get(place, {})
            if state.get("probes", 0) > 0 or (known.get("probe_at") and not state.get("probe_at")):
                self.sim.mark("breaker half-open")
            self.breakers[place] = state

    def _excuse(self, endpoint: str) -> None:
        """A lane changes hands: what was in flight or not yet settled may come once more."""
        rows = self.db.execute(
            "SELECT coalesce(d.url, e.url), d.event_id, d.attempts FROM deliveries d JOIN endpoints e ON e.id = d.endpoint_id"
            " WHERE d.endpoint_id = ? AND d.status = 'pending'",
            (endpoint,),
        )
        for url, event, attempts in rows.fetchall():
            if self.started.get((url, event), 0) > attempts:
                self.excused[url, event] += 1
