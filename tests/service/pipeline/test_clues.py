"""What leads to a lost purchase, and how far it leads at a provider that knows no id of ours (AceData)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.core.keys import Keyring
from service.core.observation import Claim
from service.core.tokens import Tokens
from service.pipeline.accounts import Callbacks
from service.pipeline.clues import gather
from service.providers.base import Clues, Push
from storage.records import Charge, LaneKind, Task, TaskStatus
from tests.service.pipeline.rig import Rig

MINUTE = 60_000_000


async def clues(rig: Rig, task: Task, tokens: Tokens | None = None) -> Clues:
    known = tokens or rig.tokens
    return await rig.database.read(lambda tx: gather(tx, task, known.read_callback))


def url(rig: Rig, submission: str, base: str = "https://relay.example") -> str:
    return f"{base}/callbacks/acedata/{rig.tokens.callback('acedata', submission)}"


async def test_a_callback_url_is_ours_by_its_token_wherever_we_were_reached_at(still: Rig) -> None:
    project = await still.project()
    task, other = await still.task(project, account="acedata"), await still.task(project, account="acedata")
    mine, theirs = await still.intend(task), await still.intend(other)
    ours = (await clues(still, task)).ours
    assert ours(url(still, mine)) and ours(url(still, mine, "https://old.example:8443/relay"))
    for no in (
        url(still, theirs),
        url(still, mine) + "x",
        url(still, mine) + "/",
        "",
        "https://relay.example/",
        "\x00",
    ):
        assert not ours(no)


async def test_a_key_rotated_meanwhile_changes_nothing(still: Rig) -> None:
    task = await still.task(await still.project(), account="acedata")
    mine = url(still, await still.intend(task))
    rotated = Tokens(Keyring([b"n" * 32, b"k" * 32]), "ins_test")
    assert (await clues(still, task, rotated)).ours(mine)
    assert not (await clues(still, task, Tokens(Keyring([b"n" * 32]), "ins_test"))).ours(mine)


async def test_the_span_of_time_holds_every_submission_and_two_clocks_that_disagree(still: Rig) -> None:
    task = await still.task(await still.project(), account="acedata")
    begun = still.clock()
    await still.intend(task)
    found = await clues(still, task)
    assert (found.since, found.until) == (begun - 5 * MINUTE, begun + 5 * MINUTE + MINUTE // 2)
    assert found.hinted_ids == ()


async def test_pushes_name_jobs_the_newest_first_each_once_and_only_a_few(still: Rig) -> None:
    task = await still.task(await still.project(), account="acedata")
    submission = await still.intend(task)
    for number in (1, 2, 2, 3, 4, 5, 6):
        still.clock.advance(1)
        push = still.callback(submission, Claim.FAILED, body=b"%d" % number, provider_task_id=f"job-{number}")
        await still.recorder.record(push)
    assert (await clues(still, task)).hinted_ids == ("job-6", "job-5", "job-4", "job-3", "job-2")


# AceData, played by the sandbox


def asked(rig: Rig, kind: str) -> int:
    return rig.requests(kind)


async def lost(rig: Rig, directives: str = "lost-reply, no-push", **account: object) -> Task:
    rig.account("acedata", **account)  # type: ignore[arg-type]
    task = await rig.task(await rig.project(), account="acedata", prompt=f"A boat. [sandbox: {directives}]")
    await rig.settle()
    return task


async def test_a_lost_purchase_is_found_by_the_callback_url_that_its_request_echoes(rig: Rig) -> None:
    task = await lost(rig)
    assert (await rig.now(task)).status is TaskStatus.UNCONFIRMED
    await rig.stretch(40)
    found = await rig.now(task)
    assert (found.status, found.provider_task_id) == (TaskStatus.PROCESSING, rig.job(task).id)
    assert asked(rig, "create") == 1


async def test_a_push_that_overtakes_the_lost_reply_is_verified_by_the_id_it_names(rig: Rig) -> None:
    task = await lost(rig, "lost-reply")
    rig.world.finish(rig.job(task).id)
    assert await rig.pushes() == 1
    await rig.settle()
    found = await rig.now(task)
    assert (found.status, found.provider_task_id) == (TaskStatus.SUCCEEDED, rig.job(task).id)
    assert [query.by for query in rig.job(task).queries] == ["id"]
    assert await rig.bells() == 0


async def test_an_id_that_a_push_names_without_being_ours_binds_nothing(rig: Rig) -> None:
    project = await rig.project()
    rig.account("acedata")
    stranger = await rig.task(project, account="acedata", prompt="A tram. [sandbox: no-push]")
    await rig.settle()
    task = await lost(rig, "status-after=500, no-push")
    [submission] = await rig.submissions(task)
    body = b'{"success":true,"task_id":"%s"}' % rig.job(stranger).id.encode()
    forged = rig.accounts["acedata"].provider.read(Push(headers={}, body=body))
    await rig.recorder.record(replace(rig.callback(submission.id, Claim.SUCCEEDED, body=body), reading=forged))
    await rig.settle()
    found = await rig.now(task)
    assert found.provider_task_id == rig.job(task).id != rig.job(stranger).id


async def test_a_server_error_that_names_the_task_is_adopted(rig: Rig) -> None:
    task = await lost(rig, "status-after=500, names-task, no-push")
    assert (await rig.now(task)).provider_task_id == rig.job(task).id


async def test_a_purchase_that_is_not_found_is_held_and_never_made_again(rig: Rig) -> None:
    task = await lost(rig, "close")
    await rig.stretch(1800)
    held = await rig.now(task)
    assert (held.status, held.charge) == (TaskStatus.UNCONFIRMED, Charge.POSSIBLE)
    assert held.streak_count > 3
    assert asked(rig, "create") == 1
    await rig.stretch(7200)
    assert (await rig.now(task)).status is TaskStatus.EXPIRED
    assert asked(rig, "create") == 1


async def test_without_a_callback_url_nothing_can_be_found_so_nothing_is_asked(rig: Rig) -> None:
    task = await lost(rig, callbacks=Callbacks.OFF)
    await rig.stretch(1800)
    assert (await rig.now(task)).status is TaskStatus.UNCONFIRMED
    await rig.stretch(7200)
    assert (await rig.now(task)).status is TaskStatus.EXPIRED
    assert (asked(rig, "create"), asked(rig, "query")) == (1, 0)
    assert not rig.accounts["acedata"].look_up and not rig.accounts["acedata"].rules().look_up


async def test_a_late_push_leads_to_the_purchase_even_after_callbacks_were_switched_off(rig: Rig) -> None:
    task = await lost(rig, "lost-reply")
    rig.accounts["acedata"] = replace(rig.accounts["acedata"], callbacks=Callbacks.OFF)
    rig.workers.pop((LaneKind.ACCOUNT, "acedata"), None)
    rig.world.finish(rig.job(task).id)
    await rig.pushes()
    await rig.run("UPDATE lanes SET owner = NULL, until = 0, next_due_at = 0")
    await rig.settle()
    assert (await rig.now(task)).status is TaskStatus.SUCCEEDED
    assert await rig.bells() == 0


@pytest.mark.parametrize("account", ["ulazai", "apiinone"])
async def test_where_nothing_can_be_looked_for_a_purchase_is_held_and_nothing_is_asked(rig: Rig, account: str) -> None:
    rig.account(account)
    task = await rig.task(await rig.project(), account=account, prompt="A boat. [sandbox: lost-reply]")
    await rig.settle()
    await rig.stretch(1800)
    assert (await rig.now(task)).status is TaskStatus.UNCONFIRMED
    assert (asked(rig, "create"), asked(rig, "query")) == (1, 0)
