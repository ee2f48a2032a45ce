"""Asked once a job has ended: nothing that buys, on the wire of the sandbox."""

from __future__ import annotations

from service.core.observation import Claim
from service.pipeline.probe.questions import NOBODY, Answers, ask
from service.sandbox.script import Step
from tests.service.pipeline.rig import Rig


async def answers(rig: Rig, account: str) -> Answers:
    task = await rig.task(await rig.project(), account=account)
    await rig.settle()
    before = rig.requests("create")
    counted = len(rig.world.requests)
    found = await ask(
        rig.accounts[account],
        await rig.now(task),
        rig.database,
        rig.client,
        rig.tokens.read_callback,
        lambda: len(rig.world.requests) - counted,
    )
    assert rig.requests("create") == before == 1
    return found


async def test_a_contract_with_batch_and_look_up_is_asked_twice(rig: Rig) -> None:
    found = await answers(rig, "cloudsway")
    claims = sorted(one.claim.value for one in found.together.values())
    assert claims == ["absent", "waiting"] and found.together[NOBODY].claim is Claim.ABSENT
    assert found.found is not None and found.found.provider_task_id
    assert (found.together_at, found.found_at) == (0, 1)


async def test_a_contract_with_neither_is_asked_for_each_alone(rig: Rig) -> None:
    found = await answers(rig, "ulazai")
    assert found.together[NOBODY].claim is Claim.ABSENT and found.found is None and found.found_at is None


async def test_a_question_that_fails_leaves_its_answer_out(rig: Rig) -> None:
    rig.world.script.queries.append(Step(directive="close", times=9))
    found = await answers(rig, "cloudsway")
    assert found.together == {} and found.found is None
