"""Which account a task goes to."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from service.core.request import TaskRequest
from service.pipeline.choosing import Choice, candidate_of, choose_accounts
from service.providers.registry import PROVIDERS
from tests.service.pipeline.rig import Rig

CLOUDSWAY = PROVIDERS["cloudsway"]
PREPARED = CLOUDSWAY.prepare(
    TaskRequest(provider="cloudsway", model="kling-3.0-turbo", input={"prompt": "A paper boat"})
)


def choice(rig: Rig, model: str = "kling-3.0-turbo") -> Choice:
    return Choice(provider=CLOUDSWAY, model=model, prepared=PREPARED, accounts=list(rig.accounts.values()))


async def test_of_two_choices_alike_each_gets_an_account_of_its_own_while_there_is_one(still: Rig) -> None:
    still.account("second", provider="cloudsway")

    async def chosen(*choices: Choice) -> list[str]:
        found = await still.database.read(lambda tx: choose_accounts(tx, choices))
        return [one.account.name for one in found]

    same = choice(still)
    assert await chosen(same, same) == ["cloudsway", "second"]
    assert await chosen(same, choice(still, "another")) == ["cloudsway", "cloudsway"]
    await still.task(await still.project())
    assert await chosen(same, same) == ["second", "cloudsway"], "the least busy first"


def test_a_candidate_says_what_it_takes_at_this_account(still: Rig) -> None:
    account = replace(still.accounts["cloudsway"], unit_price="0.01 USD", units_per_second={"": Decimal("1.50")})
    one = candidate_of(choice(still), account)
    assert (one.account, one.provider, one.unit_price) == ("cloudsway", "cloudsway", "0.01 USD")
    assert (one.cost_unit, one.cost_estimated) == ("unit", "7.5")
    assert '"prompt":"A paper boat"' in one.input
