"""A dry run is the adapter's own purchase, stopped before it is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from service.core.request import Alternative, TaskRequest
from service.pipeline.accounts import Callbacks
from service.pipeline.create import CreateDesk
from service.pipeline.preview import PLACEHOLDER, preview
from service.providers.base import Account
from service.providers.registry import PROVIDERS
from tests.service.pipeline.rig import POLICY, Rig

FIRST = {name: next(iter(contract.models)) for name, contract in PROVIDERS.items()}


@pytest.fixture
async def desk(rig: Rig) -> AsyncIterator[CreateDesk]:
    for name in PROVIDERS:
        rig.account(name)
    yield CreateDesk(
        database=rig.database,
        providers=PROVIDERS,
        accounts=rig.accounts,
        disabled={},
        policy=POLICY,
        clock=rig.clock,
        mint=rig.mint,
        ring=lambda key, at: None,
    )


def request(provider: str, **more: Any) -> TaskRequest:
    return TaskRequest(provider=provider, model=FIRST[provider], input={"prompt": "A paper boat."}, **more)


@pytest.mark.parametrize("provider", list(PROVIDERS))
async def test_what_is_shown_is_what_is_sent(rig: Rig, desk: CreateDesk, provider: str) -> None:
    """The real purchase, as the sandbox logs it, differs from the dry run in what is secret or minted, and in nothing else."""
    [bid] = (await preview(request(provider), "prj_none", desk, rig.client)).bids
    assert bid.request is not None
    assert not rig.world.requests
    sent: list[tuple[str, dict[str, str], bytes]] = []
    exchange = rig.client._send

    async def watched(ask: Any, target: Any, made: Any) -> Any:
        headers = {name.decode(): value.decode() for name, value in made.headers}
        sent.append((target.url, headers, b"".join([part async for part in made.stream])))
        return await exchange(ask, target, made)

    rig.client._send = watched  # type: ignore[method-assign, assignment]
    task = await rig.task(await rig.project(), account=provider, prompt="A paper boat.")
    await rig.settle()
    url, headers, body = sent[0]
    assert bid.request.url == url
    assert {**headers, "Authorization": "", "Content-Length": ""} == {
        **bid.request.headers, "Authorization": "", "Content-Length": "",
    }  # fmt: skip
    text = body.decode().replace(task.id, PLACEHOLDER)
    shown = orjson.dumps(bid.request.body).decode()
    [submission] = await rig.submissions(task)
    assert orjson.loads(text.replace(rig.tokens.callback(provider, submission.id), "****")) == orjson.loads(shown)


@pytest.mark.parametrize("provider", list(PROVIDERS))
async def test_nothing_of_a_dry_run_is_secret(rig: Rig, desk: CreateDesk, provider: str) -> None:
    [bid] = (await preview(request(provider), "prj_none", desk, rig.client)).bids
    assert bid.request is not None and bid.request.headers["Authorization"] == "Bearer ****"
    assert "key-of-the-account" not in str(bid)


async def test_an_account_that_could_not_send_it_says_why(rig: Rig, desk: CreateDesk) -> None:
    rig.accounts["cloudsway"] = replace(
        rig.accounts["cloudsway"], account=Account(name="cloudsway", provider="cloudsway", endpoint_path=None)
    )
    other = Alternative(provider="ulazai", model="kling-3.0")
    first, second = (await preview(request("cloudsway", fallbacks=(other,)), "prj_none", desk, rig.client)).bids
    assert first.request is None and "ENDPOINT_PATH is missing" in str(first.why)
    assert second.request is not None


async def test_an_address_that_may_not_be_called_is_said_so(rig: Rig, desk: CreateDesk) -> None:
    rig.account("ulazai", base_url="http://10.0.0.1")
    [bid] = (await preview(request("ulazai"), "prj_none", desk, rig.client)).bids
    assert bid.request is None and bid.why


async def test_without_callbacks_no_callback_url_is_shown(rig: Rig, desk: CreateDesk) -> None:
    rig.account("cloudsway", callbacks=Callbacks.OFF)
    [bid] = (await preview(request("cloudsway"), "prj_none", desk, rig.client)).bids
    assert bid.request is not None and "callback" not in str(bid.request.body)
