from __future__ import annotations

from service.core.lifecycle import Rules
from service.pipeline.ledger import NO_ACCOUNT, Ledger
from storage.records import LaneKind
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig


def test_a_lane_is_told_the_earliest_of_the_times_at_which_a_batch_needs_it(still: Rig) -> None:
    ledger = Ledger(desk=still.desk(), now=still.clock(), found={})
    for seconds in (30, 10, 20):
        ledger.arrive(LaneKind.ACCOUNT, "cloudsway", still.clock() + seconds * SECOND)
    assert ledger.arrivals == {(LaneKind.ACCOUNT, "cloudsway"): still.clock() + 10 * SECOND}


async def test_a_task_is_judged_by_the_contract_of_its_account(still: Rig) -> None:
    task = await still.task(await still.project())
    rules = Ledger(desk=still.desk(), now=still.clock(), found={}).rules(task)
    expected = still.accounts["cloudsway"].rules()
    assert isinstance(rules, Rules)
    assert (rules.look_up, rules.resend, rules.pushes) == (True, True, expected.pushes)
    assert rules.configured


async def test_a_task_whose_account_is_gone_can_only_be_closed(still: Rig) -> None:
    task = await still.task(await still.project())
    del still.accounts["cloudsway"]
    rules = Ledger(desk=still.desk(), now=still.clock(), found={}).rules(task)
    assert not rules.configured
    assert (rules.look_up, rules.resend, rules.pushes) == (NO_ACCOUNT.look_up, NO_ACCOUNT.resend, NO_ACCOUNT.pushes)
