"""An image on its way through an account to the provider's store."""

from __future__ import annotations

import pytest

from service.core.images import NotAnImage
from service.core.request import Invalid
from service.net.client import NeverSent
from service.pipeline.create import CreateDesk
from service.pipeline.upload import account_for, upload
from service.providers.base import UploadRefused
from service.providers.registry import PROVIDERS
from tests.service.core.pictures import png
from tests.service.pipeline.rig import POLICY, Rig


def desk(rig: Rig) -> CreateDesk:
    return CreateDesk(
        database=rig.database,
        providers=PROVIDERS,
        accounts=rig.accounts,
        disabled={},
        policy=POLICY,
        clock=rig.clock,
        mint=rig.mint,
        ring=lambda key, at: None,
    )


async def test_an_image_arrives_whole_under_a_name_of_ours(rig: Rig) -> None:
    account = rig.account("ulazai")
    made = await upload(png(7, 9), account, rig.client, seconds=5)
    assert made.url.endswith(".png") and (made.image.width, made.image.height) == (7, 9)
    assert [asked.kind for asked in rig.world.requests] == ["upload"]


async def test_what_is_no_image_is_not_sent(rig: Rig) -> None:
    with pytest.raises(NotAnImage):
        await upload(b"<svg/>", rig.account("ulazai"), rig.client, seconds=5)
    assert not rig.world.requests


async def test_a_refused_key_is_the_providers_refusal(rig: Rig) -> None:
    rig.world.knobs.api_key = "another"
    with pytest.raises(UploadRefused, match="HTTP 401"):
        await upload(png(), rig.account("ulazai"), rig.client, seconds=5)


async def test_a_provider_that_is_not_there_is_a_failure_of_the_net(rig: Rig) -> None:
    with pytest.raises(NeverSent):
        await upload(png(), rig.account("ulazai", base_url="http://127.0.0.1:9"), rig.client, seconds=5)


async def test_the_account_is_that_of_the_name_or_the_first_of_the_provider(rig: Rig) -> None:
    first, second = rig.account("ulazai"), rig.account("second", provider="ulazai")
    assert account_for("ulazai", None, desk(rig)) is first
    assert account_for(None, "second", desk(rig)) is second


@pytest.mark.parametrize(
    ("provider", "account", "place"),
    [
        (None, None, "/account"),
        ("ulazai", "ulazai", "/account"),
        ("cloudsway", None, "/provider"),
        (None, "cloudsway", "/account"),
    ],
)
async def test_who_stores_no_images_is_told_who_does(
    rig: Rig, provider: str | None, account: str | None, place: str
) -> None:
    rig.account("ulazai")
    with pytest.raises(Invalid) as refused:
        account_for(provider, account, desk(rig))
    [fault] = refused.value.faults
    assert fault.pointer == place and "ulazai" in fault.detail


async def test_a_provider_without_an_account_says_how_to_configure_one(rig: Rig) -> None:
    with pytest.raises(Invalid, match="TASKRELAY_ACCOUNTS__ULAZAI__API_KEY"):
        account_for("ulazai", None, desk(rig))
