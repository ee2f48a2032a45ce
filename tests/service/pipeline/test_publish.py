from __future__ import annotations

import orjson

from service.core.observation import Claim, Source
from storage.records import EndpointStatus
from tests.service.pipeline.rig import Rig
from tests.service.pipeline.steps import VIDEO, bound_task, succeeded


async def test_events_go_to_those_who_want_them_and_to_nobody_else(still: Rig) -> None:
    project, stranger = await still.project(), await still.project()
    ends = await still.endpoint(project)
    everything = await still.endpoint(project, events="task.*")
    failures = await still.endpoint(project, events="task.failed")
    paused = await still.endpoint(project, status=EndpointStatus.PAUSED)
    disabled = await still.endpoint(project, status=EndpointStatus.DISABLED)
    foreign = await still.endpoint(stranger, events="*")
    hidden = await still.endpoint(project, url="https://hook.example", hidden=True)
    webhook = (hidden, "https://hook.example/mine?k=1", "task.succeeded,task.submitted")
    task = await still.task(project, webhook=webhook)
    unhooked = await still.task(project)
    for one in (task, unhooked):
        await still.bound(one, f"job-{one.id}")
        await still.see(one, Claim.SUCCEEDED, job=f"job-{one.id}", outputs=VIDEO)

    async def owed(endpoint: str) -> list[tuple[object, ...]]:
        return await still.rows(
            "SELECT d.event_type, d.url FROM deliveries d JOIN events e ON e.id = d.event_id"
            " WHERE d.endpoint_id = :id AND d.task_id = :task ORDER BY e.position",
            id=endpoint,
            task=task.id,
        )

    assert await owed(ends) == [("task.succeeded", None)]
    assert await owed(everything) == [("task.submitted", None), ("task.succeeded", None)]
    assert await owed(failures) == []
    assert await owed(paused) == [("task.succeeded", None)], "a paused endpoint is owed its events"
    assert await owed(disabled) == await owed(foreign) == []
    assert await owed(hidden) == [("task.submitted", webhook[1]), ("task.succeeded", webhook[1])]
    assert len(await still.deliveries(hidden)) == 2, "only the task that named it"


async def test_deliveries_of_a_commit_are_due_in_the_order_of_their_events(still: Rig) -> None:
    project = await still.project()
    endpoint = await still.endpoint(project, events="task.*")
    task = await still.task(project)
    submission = await still.intend(task)
    seen = [
        still.seen(task, Claim.ACCEPTED, job="18", submission=submission, source=Source.SUBMIT),
        still.seen(task, Claim.RUNNING, job="18"),
        still.seen(task, Claim.SUCCEEDED, job="18", outputs=VIDEO),
    ]
    await still.recorder.record_all(seen)
    rows = await still.rows(
        "SELECT e.sequence, d.due_at FROM deliveries d JOIN events e ON e.id = d.event_id WHERE d.endpoint_id = :id"
        " ORDER BY d.due_at",
        id=endpoint,
    )
    assert [sequence for sequence, _ in rows] == [1, 2, 3]
    assert len({at for _, at in rows}) == 3
    assert [fresh.due.event_type for fresh in still.batches[-1].fresh] == [
        "task.submitted",
        "task.processing",
        "task.succeeded",
    ]


async def test_a_wide_fan_out_does_not_push_an_endpoints_delivery_behind_the_next_commit(still: Rig) -> None:
    project = await still.project()
    everybody = [await still.endpoint(project) for _ in range(20)]
    task = await still.task(project)
    await still.bound(task, "18")
    await still.see(task, Claim.SUCCEEDED, job="18", outputs=VIDEO)
    rows = await still.rows("SELECT endpoint_id, due_at FROM deliveries")
    assert {endpoint for endpoint, _ in rows} == set(everybody)
    assert {at for _, at in rows} == {still.clock()}


async def test_an_event_shows_the_task_as_the_step_left_it_and_keeps_its_bytes(still: Rig) -> None:
    project = await still.project()
    await still.endpoint(project)
    task = await still.task(project)
    await still.bound(task, "18")
    await still.see(task, Claim.SUCCEEDED, job="18", outputs=VIDEO)
    [(body,)] = await still.rows("SELECT body FROM events WHERE type = 'task.succeeded'")
    assert still.batches[-1].fresh[0].due.body == body
    told = orjson.loads(body)["data"]
    done = await still.now(task)
    assert (told["status"], told["sequence"], told["outputs"][0]["url"]) == (
        "succeeded",
        done.sequence,
        VIDEO[0].url,
    )
    assert told["output_url"] == f"https://relay.example/o/{task.id}"


async def test_every_step_stands_in_the_timeline_with_the_events_it_told(still: Rig) -> None:
    task, _ = await bound_task(still)
    await still.recorder.record(succeeded(still, task))
    kinds = [entry.kind for entry in await still.timeline(task)]
    assert kinds == ["intent", "bound", "succeeded"]
    last = (await still.timeline(task))[-1]
    assert orjson.loads(last.detail)["events"] == ["task.succeeded"]
    assert last.source == Source.POLL


async def test_a_filter_narrows_what_an_endpoint_is_owed(still: Rig) -> None:
    project = await still.project()
    texts = [
        '{"provider":["cloudsway"],"model":["kling-*"]}',
        '{"provider":["ulazai"]}',
        '{"metadata":{"shop":["eu-*"]}}',
        '{"metadata":{"shop":["us-*"]}}',
    ]
    everybody = [await still.endpoint(project, filter=text) for text in texts]
    hidden = await still.endpoint(project, url="https://hook.example", hidden=True)
    webhook = (hidden, "https://hook.example/mine", None)
    task = await still.task(project, metadata='{"shop":"eu-1"}', webhook=webhook)
    await still.bound(task, "18")
    await still.see(task, Claim.SUCCEEDED, job="18", outputs=VIDEO)
    assert [len(await still.deliveries(one)) for one in (*everybody, hidden)] == [1, 0, 1, 0, 1]


async def test_a_contradiction_heard_twice_in_one_batch_is_told_in_its_place(still: Rig) -> None:
    task, _ = await bound_task(still)
    job = f"job-{task.id}"
    another = {"job": "18", "source": Source.LOOK_UP}
    await still.recorder.record_all(
        [
            still.seen(task, Claim.RUNNING, **another),  # type: ignore[arg-type]
            still.seen(task, Claim.RUNNING, job=job),
            still.seen(task, Claim.RUNNING, **another),  # type: ignore[arg-type]
        ]
    )
    rows = await still.rows("SELECT type, sequence FROM events ORDER BY position")
    assert rows == [("task.submitted", 1), ("task.conflict", 2), ("task.processing", 3)]
