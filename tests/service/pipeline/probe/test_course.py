"""From the rows and from what was heard to evidence."""

from __future__ import annotations

from service.core.observation import Claim
from service.net.tap import TappedClient
from service.pipeline.probe.course import Course
from service.pipeline.probe.heard import Heard
from tests.service.pipeline.rig import POLICY, TLS, Rig


def course(rig: Rig) -> Course:
    heard = Heard(rig.clock)
    client = TappedClient(POLICY, rig.resolver, user_agent="taskrelay/test", ssl_context=TLS, heard=heard.exchange)
    return Course(
        account=rig.accounts["cloudsway"],
        database=rig.database,
        client=client,
        read_token=rig.tokens.read_callback,
        heard=heard,
    )


async def test_while_no_job_is_known_there_is_no_evidence(rig: Rig) -> None:
    task = await rig.task(await rig.project())
    assert await course(rig).evidence(task.id) is None
    assert await course(rig).evidence("task_nobody") is None


async def test_what_was_heard_before_the_questions_is_what_the_job_said(rig: Rig) -> None:
    task = await rig.task(await rig.project())
    await rig.settle()
    probing = course(rig)
    now = await rig.now(task)
    flow = probing.account.provider.query(probing.account.account, [now])
    await probing.client.drive(flow, probing.account.channel, timeout_seconds=5)
    seen = await probing.evidence(task.id)
    assert seen is not None
    assert [one.claim for one in seen.readings] == [Claim.WAITING]
    assert len(seen.exchanges) == 3 and seen.answers.together_at == 1  # one of ours, two questions
    await probing.client.aclose()
