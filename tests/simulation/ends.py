"""What is only true when nothing is under way: everything ended, everybody told, nothing bought twice, the books balanced."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from service.sandbox.jobs import Job
from tests.simulation.row import ENDS, SECOND, Row

if TYPE_CHECKING:
    from tests.simulation.oracle import Oracle
    from tests.simulation.simulation import Simulation

FRESH_SECONDS = 30  # what became due so lately may still be on its way


class Ends:
    """The oracle's last word on one simulation."""

    def __init__(self, sim: Simulation, oracle: Oracle) -> None:
        self.sim = sim
        self.oracle = oracle

    def unsettled(self) -> list[str]:
        """What still has to happen before everything that can be known is known. Empty: converged."""
        sim, waiting = self.sim, list[str]()
        now = sim.wall()
        for row in self.oracle.read():
            reason = self._waits(row, now)
            if reason:
                waiting.append(f"{row.id} ({row.prompt[21:34]}, {row.account}) is {row.status}: {reason}")
        late = self.oracle.db.execute(
            "SELECT d.event_type, coalesce(d.url, e.url), d.attempts FROM deliveries d JOIN endpoints e ON e.id = d.endpoint_id"
            " WHERE d.status = 'pending' AND (d.due_at IS NULL OR d.due_at <= ?) AND e.status = 'active'",
            (now - FRESH_SECONDS * SECOND,),
        ).fetchall()
        waiting += [f"{kind} to {url} is pending after {attempts} attempts" for kind, url, attempts in late]
        [(bells,)] = self.oracle.db.execute(
            "SELECT count(*) FROM observations o JOIN tasks t ON t.id = o.task_id"
            " WHERE o.verified_at IS NULL AND t.final_at IS NULL"
        )
        if bells:
            waiting.append(f"{bells} pushes still ring")
        return waiting

    def unheard(self) -> list[str]:
        """Verdicts that an hour's slow polling must have brought to tasks that had ended without one (T12)."""
        told: list[str] = []
        for row in self.oracle.read():
            job = self.sim.provider.world.jobs.get(row.job or "")
            soft = (
                row.finished_at is not None
                and row.final_at is None
                and self.sim.wall() - row.finished_at > 3610 * SECOND
            )
            if (
                soft
                and job is not None
                and job.phase.ended
                and not job.directives.no_output
                and job.prompt == row.prompt
            ):
                told.append(f"{row.id} is still {row.status}, and its job has said {job.word}")
        return told

    def _waits(self, row: Row, now: int) -> str | None:
        sim = self.sim
        if row.final_at is not None:
            return None
        jobs = sim.provider.jobs_of(row.prompt)
        own = sim.provider.world.jobs.get(row.job or "")
        if row.finished_at is not None:
            return None  # a soft end; a late verdict may still come
        over = now > row.deadline_at + 60 * SECOND
        match row.status:
            case "queued" if self._full(row.account) and not over:
                return None
            case "queued" | "submitting":
                return "not bought"
            case "unconfirmed":
                if self._looked_for(row.account) and self._findable(row, jobs):
                    return "its job could be found"
                return "its deadline has passed" if over else None
            case "processing":
                if own is None or own.phase.ended:
                    return "its job has ended"
                return "its deadline has passed" if over else None
            case _:
                return None

    def _full(self, account: str) -> bool:
        """Whether as many jobs as are allowed are at the provider, or may be."""
        bought = ("submitting", "unconfirmed", "processing")
        return (
            sum(row.account == account and row.status in bought for row in self.oracle.tasks.values())
            >= self.sim.plan.max_open
        )

    def _findable(self, row: Row, jobs: list[Job]) -> bool:
        if sum(one.prompt == row.prompt for one in self.oracle.tasks.values()) > 1:
            return False  # whose it is cannot be told from here
        if row.account == "cloudsway":
            return any(job.external_id == row.id for job in jobs)
        return any(job.callback_url is not None for job in jobs if job.contract.name == row.account)

    def final(self) -> None:
        """Everything that is only true when nothing is under way."""
        self.oracle.look(None)
        rows = {row.id: row for row in self.oracle.read()}
        by_prompt: dict[str, list[Row]] = defaultdict(list)
        for row in rows.values():
            by_prompt[row.prompt].append(row)
        self._purchases(by_prompt)
        self._stored(rows)
        self._told(rows)
        self._duplicates()
        for row in rows.values():
            self._money(row)
        for kept in self.oracle.db.execute("SELECT id, body FROM events ORDER BY position"):
            self.sim.digest.update(b"".join((kept[0].encode(), kept[1])))

    def _purchases(self, by_prompt: Mapping[str, list[Row]]) -> None:
        """I1: one job a task, and one more for each time that somebody asked for it knowing what it may cost."""
        bought: dict[str, list[Job]] = defaultdict(list)
        for job in self.sim.provider.world.jobs.values():
            bought[job.prompt].append(job)
        for prompt, jobs in bought.items():
            rows = by_prompt.get(prompt, [])
            most = max(len(rows), 1) + self.oracle.allowed[prompt] + sum(self.accepted_beforehand(row) for row in rows)
            if len(jobs) > most and prompt not in self.oracle.forgotten:
                told = ", ".join(
                    f"{job.contract.name} {job.id} at {job.accepted_at - self.sim.start_unix:.1f}" for job in jobs
                )
                self.oracle.broken("I1", f"{prompt[21:34]} was bought {len(jobs)} times: {told}")
            if prompt not in by_prompt and prompt not in self.oracle.forgotten:
                self.oracle.broken("I1", f"{prompt[21:34]} was bought without a task")

    def accepted_beforehand(self, row: Row) -> bool:
        """Whether its project accepted a second charge; where a job can be looked for, it still must not come to that."""
        return row.on_ambiguous == "resubmit" and row.resends > 0 and not self._looked_for(row.account)

    def _looked_for(self, account: str) -> bool:
        """Where a purchase in doubt can be found. AceData shows the callback URL alone, in a list that is asked for by time."""
        if account == "acedata":
            return self.sim.plan.callbacks[account] != "off" and not self.sim.clock_far_off
        return account == "cloudsway"

    def _stored(self, rows: Mapping[str, Row]) -> None:
        """I3."""
        for task_id, order in self.oracle.orders.items():
            if task_id not in rows and order.prompt not in self.oracle.forgotten:
                self.oracle.broken("I3", f"{task_id} was acknowledged and is gone")
        if self.sim.was_restored:
            return
        known = {
            (submission, bytes(digest))
            for submission, digest in self.oracle.db.execute(
                "SELECT submission_id, digest FROM observations WHERE digest IS NOT NULL"
                " UNION ALL SELECT submission_id, digest FROM callbacks"
            )
        }
        for submission, digest in self.oracle.pushed - known:
            self.oracle.broken("I3", f"a push for {submission} was acknowledged and is gone ({digest.hex()[:8]})")

    def _told(self, rows: Mapping[str, Row]) -> None:
        """I5: every event is owed to everybody who wants it, and every debt has an end or a time."""
        owed = {
            (event, url): (status, attempts, due_at)
            for event, url, status, attempts, due_at in self.oracle.db.execute(
                "SELECT d.event_id, coalesce(d.url, e.url), d.status, d.attempts, d.due_at FROM deliveries d"
                " JOIN endpoints e ON e.id = d.endpoint_id"
            )
        }
        for (event, url), (status, attempts, due_at) in owed.items():
            party = self.sim.subscribers.parties.get(url)
            if status == "delivered" and not self.oracle.acks[url, event] and not self.sim.was_restored:
                self.oracle.broken("I5", f"{event} counts as delivered to {url}, which never accepted it")
            if status == "pending" and due_at is None:
                self.oracle.broken("I5", f"{event} to {url} is pending without a time")
            if status in ("exhausted", "quarantined"):
                self.oracle.broken("I5", f"{event} to {url} is {status} after {attempts} attempts")
            if status == "canceled" and party is not None and not party.gone:
                self.oracle.broken("I5", f"{event} to {url} is canceled, and nobody asked for that")
        self._subscribed(rows, owed)

    def _subscribed(self, rows: Mapping[str, Row], owed: Mapping[tuple[str, str], object]) -> None:
        wanted = {one["number"]: one["events"] for one in self.sim.plan.endpoints}
        disabled = {url for (url,) in self.oracle.db.execute("SELECT url FROM endpoints WHERE status = 'disabled'")}
        for task_id, told in self.oracle.events.items():
            row = rows.get(task_id)
            if row is None:
                continue
            project = self.sim.project_names[row.project]
            order = self.oracle.orders.get(task_id)
            for kind, _, _, event in told:
                for number, types in wanted.items():
                    url = f"https://subscriber-{number}.example/hook"
                    if self.sim.subscribers.parties[url].project != project or url in disabled:
                        continue
                    takes = kind in ENDS if types is None else any(one in (kind, "*", "task.*") for one in types)
                    if takes != ((event, url) in owed):
                        self.oracle.broken("I5", f"{kind} of {task_id} {'is not' if takes else 'is'} owed to {url}")
                if order is not None and order.webhook and kind in ENDS:
                    url = f"https://hooks-{order.project}.example/task/{order.number}"
                    if (event, url) not in owed:
                        self.oracle.broken("I5", f"{kind} of {task_id} is not owed to its own {url}")

    def _duplicates(self) -> None:
        """I7."""
        if self.sim.was_restored:
            return
        for (url, event), heard in self.oracle.acks.items():
            if heard > 1 + self.oracle.excused[url, event]:
                self.oracle.broken(
                    "I7",
                    f"{url} accepted {event} {heard} times; {self.oracle.excused[url, event]} more were in flight or unsettled",
                )

    def _money(self, row: Row) -> None:
        """I13: who says that nothing was charged has no job that costs; what is stated is what the provider takes."""
        jobs = [job for job in self.sim.provider.world.jobs.values() if job.prompt == row.prompt]
        if row.prompt in self.oracle.forgotten or self.sim.contradicted & {row.prompt}:
            return
        costs = sum((job.credits for job in jobs), Decimal(0))
        # A reference is free again once its task has failed for good: a request that was held up may then make a second task.
        others = [
            one
            for one in self.oracle.tasks.values()
            if one.prompt == row.prompt and one.id != row.id and one.charge != "none"
        ]
        if row.charge in ("none", "refunded") and costs and row.finished_at is not None and not others:
            self.oracle.broken("I13", f"{row.id} says its charge is {row.charge}; its provider took {costs}")
        # Of a failure the documents of UlazAI 2.6 do not say whether it is given back, as the sandbox does.
        if row.charge == "confirmed" and row.status == "succeeded" and row.cost is not None and row.job is not None:
            job = self.sim.provider.world.jobs.get(row.job)
            if job is not None and job.prompt == row.prompt and Decimal(row.cost) != job.credits:
                self.oracle.broken("I13", f"{row.id} says {row.cost} was charged; its provider took {job.credits}")
