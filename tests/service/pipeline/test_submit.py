from __future__ import annotations

from dataclasses import replace

from service.core.observation import Claim, Reading, Source
from service.net.dial import boottime
from service.pipeline.submit import SubmitDesk, submit
from service.providers.base import Account, Ask, Flow
from storage.records import SubmissionStatus, Task, TaskStatus
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig


def buying(rig: Rig, **changes: object) -> SubmitDesk:
    desk = SubmitDesk(
        recorder=rig.recorder,
        client=rig.client,
        clock=rig.clock,
        boottime=boottime,
        callback_token=rig.tokens.callback,
    )
    return replace(desk, **changes)  # type: ignore[arg-type]


async def test_the_intent_is_on_disk_before_the_first_byte_leaves(rig: Rig) -> None:
    task = await rig.task(await rig.project())
    seen: list[tuple[TaskStatus, SubmissionStatus]] = []
    contract = rig.accounts["cloudsway"].provider
    drive = rig.client.drive

    async def watched(*given: object, **named: object) -> object:
        [made] = await rig.submissions(task)
        seen.append(((await rig.now(task)).status, made.status))
        return await drive(*given, **named)  # type: ignore[arg-type]

    rig.client.drive = watched  # type: ignore[method-assign, assignment]
    reading = await submit(task, rig.accounts["cloudsway"], buying(rig))
    assert contract.name == "cloudsway"
    assert seen == [(TaskStatus.SUBMITTING, SubmissionStatus.INTENDED)]
    assert reading is not None and reading.claim is Claim.ACCEPTED
    [made] = await rig.submissions(task)
    assert made.provider_task_id == rig.job(task).id


async def test_a_purchase_carries_our_id_and_a_callback_url_of_its_own_submission(rig: Rig) -> None:
    task = await rig.task(await rig.project())
    await submit(task, rig.accounts["cloudsway"], buying(rig))
    job = rig.job(task)
    [made] = await rig.submissions(task)
    assert job.external_id == task.id
    assert job.callback_url is not None
    assert rig.tokens.read_callback("cloudsway", job.callback_url.rsplit("/", 1)[1]) == made.id


async def test_an_answer_that_comes_after_the_next_submission_began_decides_nothing(rig: Rig) -> None:
    """Another owner settled the first submission and made a second; now the first one's refusal arrives."""
    task = await rig.task(await rig.project())

    async def overtaken(*given: object, **named: object) -> Reading:
        [first] = await rig.submissions(task)
        await rig.see(task, Claim.DEFERRED, submission=first.id, source=Source.SUBMIT)
        rig.clock.advance(60)
        await rig.intend(task)
        return Reading(claim=Claim.REFUSED)

    rig.client.drive = overtaken  # type: ignore[method-assign, assignment]
    await submit(task, rig.accounts["cloudsway"], buying(rig))
    assert (await rig.now(task)).status is TaskStatus.SUBMITTING


async def test_the_deadline_at_the_socket_is_never_later_than_the_stored_one(rig: Rig) -> None:
    """The database may take long to store the intent; that time is gone from the purchase."""
    task = await rig.task(await rig.project())
    started = boottime()
    moments = iter([started - 31.0])  # the anchor is taken first, and 31 s pass before the intent is stored
    reading = await submit(task, rig.accounts["cloudsway"], buying(rig, boottime=lambda: next(moments)))
    assert reading is not None and reading.claim is Claim.DEFERRED
    assert rig.requests("create") == 0
    [made] = await rig.submissions(task)
    assert made.deadline_at <= rig.clock() + 30 * SECOND


async def test_a_task_that_was_canceled_meanwhile_is_not_bought(rig: Rig) -> None:
    task = await rig.task(await rig.project())
    await rig.see(task, Claim.CANCEL, source=Source.OPERATOR)
    assert await submit(task, rig.accounts["cloudsway"], buying(rig)) is None
    assert rig.requests("create") == 0


async def test_a_task_past_its_deadline_is_not_bought(rig: Rig) -> None:
    task = await rig.task(await rig.project(), deadline_seconds=10)
    rig.clock.advance(10)
    assert await submit(task, rig.accounts["cloudsway"], buying(rig)) is None
    assert (await rig.now(task)).status is TaskStatus.EXPIRED
    assert rig.requests("create") == 0


async def test_two_workers_that_want_one_task_buy_it_once(rig: Rig) -> None:
    task = await rig.task(await rig.project())
    desk = buying(rig)
    first = await submit(task, rig.accounts["cloudsway"], desk)
    second = await submit(task, rig.accounts["cloudsway"], desk)
    assert first is not None and second is None
    assert rig.requests("create") == 1


class Broken:
    """A contract whose adapter fails when it reads the answer."""

    def __init__(self, inner: object) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    def submit(self, account: Account, task: Task, callback_url: str | None) -> Flow[object]:
        yield Ask(method="GET", path="/v1/ai/tenant-1/kling/tasks", query={"task_ids": "1"}, paid=True)
        raise KeyError("a bug of ours")


async def test_an_adapters_mistake_is_treated_as_the_worst(rig: Rig) -> None:
    task = await rig.task(await rig.project())
    account = replace(rig.accounts["cloudsway"], provider=Broken(rig.accounts["cloudsway"].provider))  # type: ignore[arg-type]
    reading = await submit(task, account, buying(rig))
    assert reading is not None and reading.claim is Claim.AMBIGUOUS
    assert (await rig.now(task)).status is TaskStatus.UNCONFIRMED
