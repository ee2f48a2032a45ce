from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from service.core import fallback, ids
from service.core.care import Care
from service.core.request import Alternative, Invalid, TaskRequest
from service.net.guard import Policy
from service.pipeline.accounts import AccountDesk
from service.pipeline.create import CreateDesk, ReferenceTaken, create, judge, read
from service.pipeline.ledger import LaneKey
from service.providers.registry import PROVIDERS
from storage import callbacks, lanes, tasks
from storage.database import Database, Unit, open_database
from storage.errors import Duplicate, Unavailable
from storage.records import LaneKind
from tests import engines
from tests.service.api.house import account, order
from tests.storage.builders import PROJECT, plant
from tests.storage.conftest import Clock

T = TypeVar("T")
rung: list[tuple[LaneKey, int]] = []


def request(**more: Any) -> TaskRequest:
    settings = {"provider": "cloudsway", "model": "kling-3.0-turbo", "input": {"prompt": "A paper boat"}}
    return TaskRequest(**{**settings, **more})


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[CreateDesk]:
    clock, count = Clock(), itertools.count(1)
    database = await open_database(await engines.address(tmp_path, clock), clock=clock)
    await plant(database)
    rung.clear()
    configured: Mapping[str, AccountDesk] = {"cloudsway": account("cloudsway", "cloudsway", None)}
    yield CreateDesk(
        database=database,
        providers=PROVIDERS,
        accounts=configured,
        disabled={"ulazai": "ulazai"},
        policy=Policy(),
        clock=clock,
        mint=lambda prefix: ids.mint(prefix, clock(), next(count).to_bytes(10, "big")),
        ring=lambda key, at: rung.append((key, at)),
    )
    await database.close()


async def test_what_is_stored_is_the_effective_request(desk: CreateDesk) -> None:
    wanted = request(metadata={"order": "1"}, reference="r", webhook_url="https://a.example.org/x", deadline_seconds=60)
    made = (await create(wanted, PROJECT, desk)).task
    stored = (await desk.database.read(lambda tx: tasks.read(tx, [made.id])))[made.id]
    assert stored == made
    assert (made.metadata, made.unit_price, made.cost_unit) == ('{"order":"1"}', "0.01 USD", "unit")
    assert made.deadline_at - made.created_at == 60_000_000
    assert '"duration":5' in made.input and '"aspect_ratio":"16:9"' in made.input
    [entry] = await desk.database.read(lambda tx: callbacks.timeline_of(tx, made.id))
    assert (entry.kind, entry.version, entry.source) == ("created", 0, "api")


async def test_the_lane_is_rungonly_for_what_is_on_disk(desk: CreateDesk) -> None:
    class Broken:
        async def write(self, unit: Unit[T], /) -> T:
            raise Unavailable("disk full")

    with pytest.raises(Unavailable):
        await create(request(), PROJECT, replace(desk, database=Broken()))  # type: ignore[arg-type]
    assert rung == []
    made = (await create(request(), PROJECT, desk)).task
    assert rung == [((LaneKind.ACCOUNT, "cloudsway"), made.created_at)]
    lane = await desk.database.read(lambda tx: lanes.get(tx, LaneKind.ACCOUNT, "cloudsway"))
    assert lane is not None and lane.next_due_at == made.created_at


async def test_who_loses_the_race_for_a_reference_hears_who_won(desk: CreateDesk) -> None:
    """On a database with several writers the check finds nothing and the insert is refused."""
    winner = (await create(request(reference="once"), PROJECT, desk)).task

    class Racing:
        def __init__(self, real: Database) -> None:
            self.real, self.lost = real, 0

        async def write(self, unit: Unit[T], /) -> T:
            if not self.lost:
                self.lost += 1
                raise Duplicate("tasks_by_reference")
            return await self.real.write(unit)

    racing = Racing(desk.database)
    with pytest.raises(ReferenceTaken) as taken:
        await create(request(reference="once"), PROJECT, replace(desk, database=racing))  # type: ignore[arg-type]
    assert taken.value.existing.id == winner.id and racing.lost == 1


async def test_another_duplicate_is_a_bug_and_not_tried_again(desk: CreateDesk) -> None:
    class Odd:
        tries = 0

        async def write(self, unit: Unit[T], /) -> T:
            self.tries += 1
            raise Duplicate("tasks.id")

    odd = Odd()
    with pytest.raises(Duplicate):
        await create(request(), PROJECT, replace(desk, database=odd))  # type: ignore[arg-type]
    assert odd.tries == 1


def told(desk: CreateDesk, **more: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as refused:
        judge(request(**more), desk)
    return {fault.pointer: fault.detail for fault in refused.value.faults}


async def test_a_contract_without_an_account_says_how_to_configure_one(desk: CreateDesk) -> None:
    bare = replace(desk, accounts={}, disabled={})
    assert told(bare)["/provider"] == (
        "No account of cloudsway is configured. "
        "Whoever runs taskrelay sets TASKRELAY_ACCOUNTS__CLOUDSWAY__API_KEY and starts it again."
    )
    assert "TASKRELAY_ACCOUNTS__ULAZAI__ENABLED=true" in told(desk, provider="ulazai", model="kling-3.0")["/provider"]
    assert "None is configured." in told(bare, provider=None, account="x")["/account"]
    assert "__CLOUDSWAY__API_KEY" in told(bare, provider=None, account="cloudsway")["/account"]


async def test_the_request_is_judged_even_when_nobody_could_take_it(desk: CreateDesk) -> None:
    faults = told(
        replace(desk, accounts={}), input={"prompt": "", "duration": 99}, webhook_url="https://user@x.example/"
    )
    assert set(faults) == {"/provider", "/input/prompt", "/input/duration", "/webhook_url"}


async def test_a_slip_of_the_pen_is_met_with_the_right_word(desk: CreateDesk) -> None:
    assert "Did you mean cloudsway?" in told(desk, provider="cloudway")["/provider"]
    assert "Did you mean cloudsway?" in told(desk, provider=None, account="cloudswai")["/account"]


async def test_a_strangers_word_is_not_repeated_with_its_controls(desk: CreateDesk) -> None:
    assert "\x1b" not in told(desk, provider="\x1b[31mred" * 30)["/provider"]


def alternative(**more: Any) -> Alternative:
    return Alternative(**{"provider": "cloudsway", "model": "kling-3.0-turbo", **more})


async def test_a_fallback_without_a_name_of_its_own_is_another_account_where_there_is_one(desk: CreateDesk) -> None:
    two = {name: account(name, "cloudsway", None) for name in ("cloudsway", "second")}
    made = (await create(request(fallbacks=(alternative(),)), PROJECT, replace(desk, accounts=two))).task
    assert (made.account, [one.account for one in fallback.load(made.fallbacks)]) == ("cloudsway", ["second"])
    faults = told(replace(desk, accounts=two), fallbacks=(alternative(), alternative()))
    assert set(faults) == {"/fallbacks/1"}
    assert set(told(desk, fallbacks=(alternative(account="cloudsway", provider=None),))) == {"/fallbacks/0"}


async def test_every_candidate_is_held_against_its_own_contract(desk: CreateDesk) -> None:
    both = replace(desk, accounts={**desk.accounts, "ulazai": account("ulazai", "ulazai", None)}, disabled={})
    given = {"prompt": "x" * 2400, "duration": 7}
    other = alternative(provider="ulazai", model="kling-2.6")
    faults = told(both, input=given, fallbacks=(alternative(provider="ulazai", model="kling-3.0"), other))
    assert set(faults) == {"/fallbacks/1/input/prompt", "/fallbacks/1/input/duration"}
    assert faults["/fallbacks/1/input/duration"].startswith("ulazai/kling-2.6 makes 5 or 10 seconds")


async def test_a_task_without_fallbacks_has_none(desk: CreateDesk) -> None:
    assert (await create(request(), PROJECT, desk)).task.fallbacks == "[]"


def test_what_has_no_shape_and_what_the_contract_adds_are_told_together(desk: CreateDesk) -> None:
    body = order(input={"prompt": "x", "duration": 16, "aspect_ratio": "5:4", "sound": False, "seed": 1}, tags=["a"])
    with pytest.raises(Invalid) as told:
        read(body, desk)
    assert {fault.pointer for fault in told.value.faults} == {
        "/tags",
        "/input/seed",
        "/input/duration",
        "/input/aspect_ratio",
        "/input/sound",
    }


@pytest.mark.parametrize("input", [{"prompt": 7, "duration": 16}, {"prompt": "x\u0000", "duration": 16}])
def test_one_place_has_one_fault(desk: CreateDesk, input: dict[str, object]) -> None:
    with pytest.raises(Invalid) as told:
        read(order(input=input), desk)
    assert [fault.pointer for fault in told.value.faults] == ["/input/prompt", "/input/duration"]


@pytest.mark.parametrize(
    "body", [7, [], {"input": 7}, {"model": 7}, {"provider": "cloudsway", "input": {"shots": [{"prompt": 1}]}}]
)
def test_what_is_no_request_without_its_faults_is_refused_for_those_alone(desk: CreateDesk, body: object) -> None:
    with pytest.raises(Invalid):
        read(body, desk)


async def test_of_several_accounts_one_that_is_paused_is_chosen_only_when_all_are(desk: CreateDesk) -> None:
    two = {name: account(name, "cloudsway", None) for name in ("cloudsway", "second")}
    desk = replace(desk, accounts=two)

    async def pause(name: str) -> None:
        await desk.database.write(lambda tx: lanes.order(tx, name, care=Care(paused_at=1).dump(), holds=None))

    assert (await create(request(), PROJECT, desk)).task.account == "cloudsway"
    await pause("second")
    assert (await create(request(), PROJECT, desk)).task.account == "cloudsway", "though it has more to do"
    await pause("cloudsway")
    assert (await create(request(), PROJECT, desk)).task.account == "second"
