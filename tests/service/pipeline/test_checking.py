"""A check against the sandbox on real sockets: what each answer says of key, address and clock; nothing is bought."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from service.core.schedule import Bucket
from service.pipeline.checking import CheckDesk, Credentials, Finding, TooSoon, _ahead, check
from service.providers.registry import PROVIDERS
from service.sandbox.script import Step
from tests.service.cli.scripted import scripting
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig


def desk(rig: Rig, rate: float = 100.0) -> CheckDesk:
    bucket = Bucket(rate, now=0)
    return CheckDesk(client=rig.client, clock=rig.clock, bucket=lambda name: bucket)


async def ask(rig: Rig, account: str = "cloudsway") -> Finding:
    return await check(rig.accounts[account], desk(rig))


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_key_that_is_good_is_found_so_by_every_contract_and_nothing_is_bought(rig: Rig, name: str) -> None:
    rig.account(name)
    found = await ask(rig, name)
    assert (found.reachable, found.credentials) == (True, Credentials.ACCEPTED), found
    assert rig.requests("create") == 0 and rig.world.jobs == {}


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_key_that_is_refused_is_found_so_by_every_contract(rig: Rig, name: str) -> None:
    rig.account(name)
    rig.world.knobs.api_key = "another"
    found = await ask(rig, name)
    assert (found.reachable, found.credentials, found.status) == (True, Credentials.REFUSED, 401), found
    assert "key-of-the-account" not in repr(found)


async def test_a_provider_that_repeats_the_key_is_not_repeated(rig: Rig) -> None:
    with scripting() as echo:
        rig.account("cloudsway", base_url=echo.url)
        echo.answer = lambda: (401, {}, b'{"code": 401, "message": "no such key: key-of-the-account"}')
        found = await ask(rig)
    assert echo.asked and found.credentials is Credentials.REFUSED
    assert found.detail is not None and "no such key: ***" in found.detail


async def test_who_does_not_answer_says_nothing_of_the_key(rig: Rig) -> None:
    rig.account("cloudsway", base_url="http://127.0.0.1:9")
    found = await ask(rig)
    assert (found.reachable, found.credentials, found.status, found.clock_seconds) == (
        False,
        Credentials.UNKNOWN,
        None,
        None,
    )
    assert found.detail is not None and "connect" in found.detail


async def test_an_answer_that_is_no_answer_says_nothing_of_the_key(rig: Rig) -> None:
    rig.world.script.queries.append(Step(directive="status=503", times=1))
    found = await ask(rig)
    assert (found.reachable, found.credentials, found.status) == (True, Credentials.UNKNOWN, 503)


async def test_a_check_takes_its_share_of_the_rate(rig: Rig) -> None:
    limited = desk(rig, rate=1.0)
    await check(rig.accounts["cloudsway"], limited)
    with pytest.raises(TooSoon) as refused:
        await check(rig.accounts["cloudsway"], limited)
    assert 0 < refused.value.seconds <= 1


@pytest.mark.parametrize(
    ("headers", "ahead"),
    [
        ({"date": "Thu, 01 Jan 1970 00:10:00 GMT"}, 0),
        ({"date": "Thu, 01 Jan 1970 00:09:59 GMT"}, 0),
        ({"date": "Thu, 01 Jan 1970 00:11:00 GMT"}, 60),
        ({"date": "Thu, 01 Jan 1970 00:08:00 GMT"}, -120),
        ({"date": "soon"}, None),
        ({}, None),
    ],
)
def test_the_clock_of_the_provider_is_read_off_its_date(headers: Mapping[str, str], ahead: int | None) -> None:
    assert _ahead(headers, 600 * SECOND) == ahead
