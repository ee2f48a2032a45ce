"""Passes an image on to a provider that stores images for its own models. Nothing of it is kept here."""

from __future__ import annotations

from dataclasses import dataclass

from service.core.images import Image, examine
from service.core.request import Fault, Invalid
from service.net.client import ProviderClient
from service.pipeline.accounts import AccountDesk
from service.pipeline.create import CreateDesk, who
from service.providers.base import File, Uploader


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """Where an image is now. Whoever has the URL can see it."""

    url: str
    image: Image
    account: AccountDesk


def account_for(provider: str | None, account: str | None, desk: CreateDesk) -> AccountDesk:
    """The account that will take a file. Raises `Invalid`."""
    faults: list[Fault] = []
    if (provider is None) is (account is None):
        raise Invalid([Fault(pointer="/account", detail=f"Send account or provider, one of them. {_who_can(desk)}")])
    contract, accounts = who(provider, account, desk, faults)
    if contract is not None and not isinstance(contract, Uploader):
        place = "/provider" if account is None else "/account"
        detail = f"{contract.name} stores no images. {_who_can(desk)} Or send the image's own public URL in the task."
        raise Invalid([Fault(pointer=place, detail=detail)])
    if faults:
        raise Invalid(faults)
    return accounts[0]


async def upload(content: bytes, account: AccountDesk, client: ProviderClient, *, seconds: float) -> Uploaded:
    """Judge the bytes and send them. Raises `NotAnImage`, `NetError` or `ProviderError`."""
    image = examine(content)
    # The client's own name for it could say anything, and would be read by whoever has the URL.
    file = File(name="file", filename=f"image.{image.suffix}", type=image.type, content=content)
    assert isinstance(account.provider, Uploader)  # account_for has checked
    url = await client.drive(account.provider.upload(account.account, file), account.channel, timeout_seconds=seconds)
    return Uploaded(url=url, image=image, account=account)


def _who_can(desk: CreateDesk) -> str:
    able = [name for name, contract in desk.providers.items() if isinstance(contract, Uploader)]
    return f"Images are stored by {' and '.join(able)}."
