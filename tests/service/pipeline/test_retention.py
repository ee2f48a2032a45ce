"""What is over goes, in its time and in small parts; what may still change, is owed, or belongs to what stays, does not."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from service.core.observation import Claim, Source
from service.core.times import DAY
from service.pipeline import retention
from service.pipeline.retention import Keep, Retention
from storage import answers
from storage.answers import Kept
from storage.records import Task
from tests.service.pipeline.rig import Rig

KEEP = Keep(raw_days=30, attempts_days=30, tasks_days=90, audit_days=365)
TABLES = ("tasks", "submissions", "observations", "timeline", "events", "deliveries", "attempts")


def keeper(rig: Rig, keep: Keep = KEEP, rests: list[float] | None = None) -> Retention:
    async def rest(seconds: float) -> None:
        if rests is not None:
            rests.append(seconds)

    return Retention(rig.database, keep, clock=rig.clock, rest=rest)


async def sizes(rig: Rig) -> dict[str, int]:
    found = {}
    for table in TABLES:
        [(count,)] = await rig.rows(f"SELECT count(*) FROM {table}")  # noqa: S608
        found[table] = int(str(count))
    return found


async def ended(rig: Rig, project: str, number: int = 1, *, delivered: bool = True, **task: object) -> Task:
    """A task that was bought, pushed and delivered."""
    made = await rig.task(project, **task)  # type: ignore[arg-type]
    submission = await rig.bound(made, f"job-{number}")
    await rig.recorder.record(
        rig.callback(submission, Claim.RUNNING, body=f"push {number}".encode(), provider_task_id=f"job-{number}")
    )
    await rig.see(made, Claim.FAILED, job=f"job-{number}", raw=b"answer")
    if delivered:
        await settle(rig)
    return made


async def settle(rig: Rig) -> None:
    """As if the relay had delivered all that is pending."""
    await rig.run(
        "INSERT INTO attempts SELECT id, attempts + 1, :now, 5, 200, NULL, 'thanks' FROM deliveries WHERE status = 'pending'",
        now=rig.clock(),
    )
    await rig.run(
        "UPDATE deliveries SET status = 'delivered', attempts = attempts + 1, due_at = NULL WHERE status = 'pending'"
    )


async def test_a_task_goes_with_all_that_was_said_of_it_when_its_time_is_over(still: Rig) -> None:
    project = await still.project()
    await still.endpoint(project, events="*")
    await ended(still, project)
    still.clock.advance(90 * 86_400 - 3_600)
    await ended(still, project, 2)
    await keeper(still).run_once()
    assert (await sizes(still))["tasks"] == 2
    still.clock.advance(7_200)
    await keeper(still).run_once()
    rows = await sizes(still)
    assert rows["tasks"] == 1
    for table in TABLES:
        assert rows[table] > 0, table  # of the other one everything is still there
    still.clock.advance(100 * 86_400)
    await keeper(still).run_once()
    assert await sizes(still) == dict.fromkeys(TABLES, 0)


@pytest.mark.parametrize("why", ["open", "owed", "soft"])
async def test_what_may_still_change_or_is_owed_stays_however_old_it_is(still: Rig, why: str) -> None:
    project = await still.project()
    await still.endpoint(project, events="*")
    if why == "open":
        await still.bound(await still.task(project))
        await settle(still)
    elif why == "owed":
        await ended(still, project, delivered=False)
    else:
        task = await still.task(project)
        submission = await still.intend(task)
        await still.see(task, Claim.AMBIGUOUS, submission=submission, source=Source.SUBMIT)
        await still.see(task, Claim.ABANDON, source=Source.OPERATOR)
        await settle(still)
    before = await sizes(still)
    still.clock.advance(20 * 86_400 if why == "soft" else 400 * 86_400)
    await keeper(still, replace(KEEP, raw_days=10, attempts_days=0, tasks_days=10)).run_once()
    assert await sizes(still) == before


async def test_an_end_that_is_not_final_goes_once_no_late_verdict_counts(still: Rig) -> None:
    task = await still.task(await still.project())
    submission = await still.intend(task)
    await still.see(task, Claim.AMBIGUOUS, submission=submission, source=Source.SUBMIT)
    await still.see(task, Claim.ABANDON, source=Source.OPERATOR)
    still.clock.advance(31 * 86_400)
    await keeper(still, replace(KEEP, tasks_days=10)).run_once()
    assert (await sizes(still))["tasks"] == 0


async def test_raw_payloads_go_early_and_what_was_understood_of_them_stays_for_replay(still: Rig) -> None:
    project = await still.project()
    old = await ended(still, project)
    still.clock.advance(29 * 86_400)
    young = await ended(still, project, 2)
    still.clock.advance(2 * 86_400)
    keep = keeper(still)
    await keep.run_once()
    kept = await still.rows("SELECT task_id, count(*), count(raw) FROM observations GROUP BY task_id ORDER BY task_id")
    assert [(row[0], row[2]) for row in kept] == [(old.id, 0), (young.id, 2)]
    still.clock.advance(40 * 86_400)
    await keep.run_once()  # it remembers who was too young
    assert {row[0] for row in await still.rows("SELECT count(raw) FROM observations")} == {0}


async def test_an_old_task_that_ended_late_keeps_its_raw_payloads_until_its_own_time_is_over(still: Rig) -> None:
    task = await still.task(await still.project())
    await still.bound(task)
    still.clock.advance(31 * 86_400)
    await still.see(task, Claim.FAILED, raw=b"answer")
    keep = keeper(still)
    for days, kept in ((0, 1), (29, 1), (2, 0)):
        still.clock.advance(days * 86_400)
        await keep.run_once()  # of those it passed by, it remembers this one
        assert await still.rows("SELECT count(raw) FROM observations WHERE claim = 'failed'") == [(kept,)]


async def test_attempts_go_by_their_own_age_and_never_those_of_a_pending_delivery(still: Rig) -> None:
    project = await still.project()
    await still.endpoint(project)
    await ended(still, project)
    await ended(still, project, 2)
    await still.run("UPDATE deliveries SET status = 'pending', due_at = 1 WHERE id = (SELECT max(id) FROM deliveries)")
    still.clock.advance(31 * 86_400)
    await keeper(still).run_once()
    assert await still.rows("SELECT delivery_id FROM attempts") == await still.rows("SELECT max(id) FROM deliveries")


async def test_a_cursor_that_has_missed_something_is_told_so(still: Rig) -> None:
    project, other = await still.project(), await still.project()
    await ended(still, project)
    await ended(still, other, 2)
    newest = "SELECT max(position) FROM events WHERE project_id = :project"
    [(mine,)], [(theirs,)] = await still.rows(newest, project=project), await still.rows(newest, project=other)
    still.clock.advance(80 * 86_400)
    await ended(still, other, 3)
    still.clock.advance(11 * 86_400)
    await keeper(still).run_once()
    forgotten: dict[object, object] = dict(await still.rows("SELECT id, forgotten FROM projects"))  # type: ignore[arg-type]
    assert (forgotten[project], forgotten[other]) == (mine, theirs)
    assert (await sizes(still))["tasks"] == 1


async def test_events_of_no_task_orphans_and_the_trail_have_their_time_as_well(still: Rig) -> None:
    project = await still.project()
    endpoint = await still.endpoint(project, events="*")
    await still.run(
        "INSERT INTO events (id, project_id, type, sequence, created_at, body, hard, test) VALUES"
        " ('evt_a', :project, 'endpoint.failing', 0, :now, :body, 0, 0), ('evt_b', :project, 'task.failed', 0, :now, :body, 0, 1)",
        project=project,
        body=b"{}",
        now=still.clock(),
    )
    await still.run(
        "INSERT INTO deliveries (id, event_id, endpoint_id, project_id, event_type, status, attempts, due_at, created_at, updated_at)"
        " VALUES ('dlv_1', 'evt_b', :endpoint, :project, 'task.failed', 'pending', 0, 1, 1, 1)",
        project=project,
        endpoint=endpoint,
    )
    await still.recorder.record(still.callback("sub_gone", Claim.RUNNING, body=b"orphan"))
    await still.run(
        "INSERT INTO audit (id, project_id, action, detail, at) VALUES (:id, :project, 'cancel', '{}', 1)",
        id=still.mint("aud"),
        project=project,
    )
    still.clock.advance(91 * 86_400)
    await keeper(still).run_once()
    assert await still.rows("SELECT id FROM events") == [("evt_b",)]  # still owed
    assert await still.rows("SELECT id FROM callbacks") == []
    assert len(await still.rows("SELECT id FROM audit")) == 1
    await settle(still)
    still.clock.advance(300 * 86_400)
    await keeper(still).run_once()
    for table in ("events", "deliveries", "attempts", "audit"):
        assert await still.rows(f"SELECT 1 FROM {table}") == [], table  # noqa: S608


async def test_nothing_goes_where_everything_is_kept(still: Rig) -> None:
    project = await still.project()
    await still.endpoint(project)
    await ended(still, project)
    before = await sizes(still)
    still.clock.advance(4_000 * 86_400)
    await keeper(still, Keep(raw_days=0, attempts_days=0, tasks_days=0, audit_days=0)).run_once()
    assert await sizes(still) == before
    assert (await still.rows("SELECT count(raw) FROM observations"))[0][0] == 2


async def test_it_goes_in_small_parts_with_a_rest_after_each_and_says_so_once(
    still: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retention, "TASKS", 1)
    monkeypatch.setattr(retention, "READ", 2)
    project = await still.project()
    for number in range(5):
        await ended(still, project, number)
    still.clock.advance(100 * 86_400)
    rests: list[float] = []
    with caplog.at_level(logging.INFO, logger="taskrelay.retention"):
        await keeper(still, rests=rests).run_once()
    assert len(rests) >= 5 and all(seconds > 0 for seconds in rests)
    [line] = [record.getMessage() for record in caplog.records if record.name == "taskrelay.retention"]
    assert "5 tasks" in line
    assert (await sizes(still))["tasks"] == 0


async def test_a_reference_is_free_again_when_its_task_is_gone(still: Rig) -> None:
    project = await still.project()
    await ended(still, project, reference="order-1")
    still.clock.advance(91 * 86_400)
    await keeper(still).run_once()
    await ended(still, project, 2, reference="order-1")


async def test_what_creations_were_answered_goes_after_a_day_whatever_else_is_kept(still: Rig) -> None:
    project = await still.project()
    old, young = (
        Kept(
            id=still.mint("ans"),
            project_id=project,
            route="POST /v1/keys",
            asked_as=name,
            number=0,
            fingerprint="f",
            asked_at=still.clock(),
            keep_until=still.clock() + DAY,
        )
        for name in ("old", "young")
    )
    await still.database.write(lambda tx: answers.claim(tx, old))
    still.clock.now += DAY // 2
    young = replace(young, id=still.mint("ans"), keep_until=still.clock() + DAY)
    await still.database.write(lambda tx: answers.claim(tx, young))
    for passed, left in ((DAY // 4, ["old", "young"]), (DAY // 2, ["young"]), (DAY, [])):
        still.clock.now += passed
        await keeper(still, Keep(raw_days=0, attempts_days=0, tasks_days=0, audit_days=0)).run_once()
        assert [str(name) for (name,) in await still.rows("SELECT asked_as FROM answers ORDER BY id")] == left
