"""The end of a run: everything converges, then what everybody saw is held together."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence

from service.sandbox.world import World
from tests.chaos import fences
from tests.chaos.errors import traces
from tests.chaos.facts import Doubt, Link, connect, doubts, read, still_open
from tests.chaos.judge import judged, missed_in_feed
from tests.chaos.measures import TTL_SECONDS, Measured, broken
from tests.chaos.phases import Phases
from tests.chaos.result import Result, Run
from tests.chaos.schedule import Fault
from tests.chaos.stage import Stage
from tests.kill.facts import Facts, timeline
from tests.kill.plan import KINDS

CALM_SECONDS, CALM_AFTER_DEFAULTS_SECONDS = 150.0, 450.0
SHOWN = 5  # violations of one rule
EVENTS = "SELECT id FROM events WHERE test = 0"


async def closed(run: Run, stage: Stage, phases: Phases, ordering: Sequence[asyncio.Task[None]]) -> Result:
    """No more faults: everything ends, every end is delivered; then it is judged, and everybody stops."""
    calm_at, began = time.time(), time.monotonic()
    stage.receiver.calm = True
    for client in stage.clients.values():
        client.calm = True
    patience = CALM_AFTER_DEFAULTS_SECONDS if "defaults" in run.phases else CALM_SECONDS
    link = await connect(stage.server.url)
    try:
        converged = await _converge(stage, link, ordering, patience)
        facts = await read(stage.server.url, link, list(KINDS))
        verdict = judged(stage, facts)
        result = Result(run=run, verdict=verdict, measured=phases.measured, converged_seconds=converged)
        if converged is None:
            verdict.blame("not quiet", f"after {time.monotonic() - began:.0f} s: {await _open(stage, link)}")
        take_overs(stage, phases.measured, calm_at)
        await _abandon(stage, link, result)
        await _database(stage, link, result)
        for rule, what in broken(result.measured, run.phases):
            verdict.blame(rule, what)
        await _agreement(stage, result)
        _count(stage, facts, result)
        await _show(stage, result)
    finally:
        await link.close()
    await _stop(stage, result)
    return result


def take_overs(stage: Stage, found: Measured, calm_at: float) -> None:
    """How long lanes were without an owner that works, for every fault by its kind.

    Not where PostgreSQL itself was away meanwhile, nor at the very end, when lanes run out of work.
    """
    times = {
        str(Fault.KILL): found.take_over_killed,
        str(Fault.PAUSE): found.take_over_paused,
        str(Fault.RESTART): found.take_over_stopped,
    }
    away = [span for span in stage.spans if span.replica < 0]
    for span in stage.spans:
        since = span.until if span.innocent else span.began
        until = since + TTL_SECONDS
        disturbed = any(one.began <= until and one.until >= span.began for one in away)
        if span.pid is not None and span.what in times and not disturbed and until < calm_at:
            times[span.what] += [seconds for _, seconds in stage.watchman.taken_over(span.pid, span.began, since)]


async def _open(stage: Stage, link: Link) -> dict[str, int]:
    """What is still under way; of purchases in doubt those that can still be found or made."""
    found = await still_open(link)
    return {**found, "in doubt": sum(findable(one, stage.worlds[one.account]) for one in await doubts(link))}


def findable(one: Doubt, world: World) -> bool:
    """Whether a provider with look-up has the job, or the purchase may be made once more."""
    kind = KINDS[one.account]
    bought = any(one.task_id == job.external_id or one.prompt == job.prompt for job in world.jobs.values())
    return kind.look_up and (bought or (kind.resends and one.resends == 0))


async def _converge(stage: Stage, link: Link, ordering: Sequence[asyncio.Task[None]], patience: float) -> float | None:
    began = time.monotonic()
    while time.monotonic() - began < patience:
        if all(task.done() for task in ordering) and not any((await _open(stage, link)).values()):
            for task in ordering:
                task.result()
            return round(time.monotonic() - began, 1)
        await asyncio.sleep(0.5)
    return None


async def _abandon(stage: Stage, link: Link, result: Result) -> None:
    """Give up what nobody can find out about; that is told as well, and the feed shows it."""
    held = [one.task_id for one in await doubts(link)]
    result.counts["held"] = len(held)
    async with stage.http() as http:
        for one in held:
            reply = await http.post(f"/v1/tasks/{one}/resolve", json={"action": "abandon"})
            if reply.status_code != 200:
                result.verdict.blame(
                    "not visible", f"{one}: abandoned, answered {reply.status_code} {reply.text[:200]}", one
                )
    for _ in range(200):
        if not any((await still_open(link)).values()) and not await link.fetchval(
            "SELECT count(*) FROM tasks WHERE finished_at IS NULL"
        ):
            break
        await asyncio.sleep(0.1)
    for id, status in await link.fetch("SELECT id, status FROM tasks WHERE finished_at IS NULL"):
        result.verdict.blame("not quiet", f"{id} is {status}", id)


async def _database(stage: Stage, link: Link, result: Result) -> None:
    """What PostgreSQL and the feed show."""
    verdict = result.verdict
    for one in await fences.trespasses(link, stage.lives()):
        verdict.blame("fences", one)
    result.counts["fenced writers seen"] = await fences.watched(link)
    for one in stage.watchman.idled:
        verdict.blame("idle transactions", one)
    result.counts["deadlocks"] = stage.watchman.deadlocks
    stored = [str(id) for (id,) in await link.fetch(EVENTS)]
    for _ in range(100):
        if len(stage.reader.seen) >= len(stored):
            break
        await asyncio.sleep(0.1)
    result.counts["events"], result.counts["read by the cursor"] = len(stored), stage.reader.seen.total()
    for one in (*stage.reader.bad, *missed_in_feed(stage.reader.seen, stored)):
        verdict.blame("feed", one)


async def _agreement(stage: Stage, result: Result) -> None:
    """What the service itself says of it: the audit, and the replay of every history."""
    after: str | None = None
    async with stage.http() as http:
        while True:
            reply = await http.get("/v1/audit", params={"after": after} if after else {})
            if reply.status_code != 200:
                result.verdict.blame("unexplained", f"the audit was answered {reply.status_code}: {reply.text[:300]}")
                break
            found = reply.json()
            for one in (*found["unexplained"], *found["unknown"]):
                result.verdict.blame("unexplained", f"{one['kind']}: {one['message']}")
            result.counts["audited"] += found["counts"]["owed"]
            if (after := found["next"]) is None:
                break
    code, replayed = await stage.command("db", "replay")
    if code != 0 or not isinstance(replayed, dict):
        differences = replayed.get("differences", [])[:SHOWN] if isinstance(replayed, dict) else replayed
        result.verdict.blame("replay", f"db replay ended with {code}: {differences}")
    else:
        result.counts["histories replayed"] = replayed["tasks"]


def _count(stage: Stage, facts: Mapping[str, Facts], result: Result) -> None:
    counts = result.counts
    for kind, told in facts.items():
        counts["acked"] += len(stage.clients[kind].acked)
        counts["tasks"] += len(told.tasks)
        counts["jobs"] += len(stage.worlds[kind].jobs)
        counts["resends"] += sum(task.resends for task in told.tasks.values())
        counts |= Counter({f"{kind} {status}": count for status, count in told.statuses.items()})
        counts["pushes acked"] += sum(
            any(one.status is not None and one.status < 300 for one in push.attempts)
            for job in stage.worlds[kind].jobs.values()
            for push in job.pushes
        )
    counts["attempts heard"] = len(stage.receiver.receipts)
    counts["tries"] = sum(order.tries for client in stage.clients.values() for order in client.orders)
    result.trouble = stage.balancer.trouble
    counts["requests"], counts["moved"] = stage.balancer.answered, stage.balancer.moved
    result.idling_excused = stage.watchman.excused_idling.total()


async def _show(stage: Stage, result: Result) -> None:
    """Some violations of each rule, with their tasks' timelines."""
    told: Counter[str] = Counter()
    for one in result.verdict.violations:
        told[one.rule] += 1
        if told[one.rule] > SHOWN:
            continue
        lines = [f"VIOLATION {one.rule}: {one.what}"]
        if one.task_id:
            lines += [f"    {line}" for line in await asyncio.to_thread(timeline, stage.server.url, one.task_id)]
        result.shown.append("\n".join(lines))


async def _stop(stage: Stage, result: Result) -> None:
    """Everybody ends in order; then the logs are read."""
    for replica in stage.replicas:
        code, _ = await replica.stop()
        if code != 0:
            _late(result, "service errors", f"{replica.name} ended with {code} at the end")
        for trace in traces(replica.log):
            _late(result, "service errors", f"{replica.name}: {trace}")


def _late(result: Result, rule: str, what: str) -> None:
    result.verdict.blame(rule, what)
    if sum(one.rule == rule for one in result.verdict.violations) <= SHOWN:
        result.shown.append(f"VIOLATION {rule}: {what}")
