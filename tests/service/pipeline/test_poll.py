from __future__ import annotations

from dataclasses import replace

from service.core.observation import Claim
from service.pipeline.poll import PollDesk, look_up, query
from service.providers.base import Account, Ask, Clues, Flow
from service.sandbox.script import Step
from storage.records import Task, TaskStatus
from tests.service.pipeline.rig import Rig


def asking(rig: Rig) -> PollDesk:
    return PollDesk(recorder=rig.recorder, client=rig.client, clock=rig.clock, read_token=rig.tokens.read_callback)


async def test_answers_are_matched_by_id_and_a_job_that_is_missing_is_absent(rig: Rig) -> None:
    project = await rig.project()
    known = await rig.task(project)
    await rig.settle()
    unknown = await rig.task(project)
    await rig.bound(unknown, "18")
    made = [await rig.now(unknown), await rig.now(known)]
    readings = await query(made, rig.accounts["cloudsway"], asking(rig), prompted_by={})
    assert [one.claim for one in readings] == [Claim.ABSENT, Claim.WAITING]


async def test_a_query_that_fails_says_nothing_of_any_job(rig: Rig) -> None:
    project = await rig.project()
    made = [await rig.task(project) for _ in range(3)]
    await rig.settle()
    rig.world.script.queries.append(Step(directive="status=500"))
    now = [await rig.now(task) for task in made]
    readings = await query(now, rig.accounts["cloudsway"], asking(rig), prompted_by={})
    assert {one.claim for one in readings} == {Claim.UNREACHABLE}
    assert {(await rig.now(task)).status for task in made} == {TaskStatus.PROCESSING}


class Broken:
    """A contract whose adapter fails on every answer."""

    def __init__(self, inner: object) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    def query(self, account: Account, tasks: object) -> Flow[object]:
        yield Ask(method="GET", path="/v1/ai/tenant-1/kling/tasks", query={"task_ids": "1"})
        raise KeyError("a bug of ours")

    def look_up(self, account: Account, task: object, clues: object) -> Flow[object]:
        return self.query(account, task)


async def test_an_adapters_mistake_says_nothing_of_the_job(rig: Rig) -> None:
    task = await rig.task(await rig.project())
    await rig.settle()
    account = replace(rig.accounts["cloudsway"], provider=Broken(rig.accounts["cloudsway"].provider))  # type: ignore[arg-type]
    now: Task = await rig.now(task)
    [reading] = await query([now], account, asking(rig), prompted_by={})
    assert reading.claim is Claim.UNREACHABLE
    clues = Clues(ours=lambda url: False, since=0, until=rig.clock())
    assert (await look_up(now, account, asking(rig), clues)).claim is Claim.UNREACHABLE
    assert (await rig.now(task)).status is TaskStatus.PROCESSING


async def test_an_answer_that_lags_behind_a_push_is_asked_for_again_soon(rig: Rig) -> None:
    task = await rig.task(await rig.project())
    await rig.settle()
    await query([await rig.now(task)], rig.accounts["cloudsway"], asking(rig), prompted_by={task.id: Claim.SUCCEEDED})
    due = (await rig.now(task)).due_at
    assert due is not None and due <= rig.clock() + 2_000_000
