"""The service of the API's own tests, with the routes of this dialect beside its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from service.api.app import Api, create_app
from service.compat.openai.routes import ROUTES
from tests.service.api.conftest import clock, house, public_url
from tests.service.api.house import House

__all__ = ["clock", "house", "public_url"]


@pytest.fixture
def app(house: House) -> Api:
    return create_app(house.context, more=ROUTES)


@pytest.fixture
async def client(house: House, app: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with house.client(app, house.key) as opened:
        opened.base_url = httpx.URL("http://anything.test/openai/v1/")
        yield opened


@pytest.fixture
async def stranger(house: House, app: Api) -> AsyncIterator[httpx.AsyncClient]:
    """With the key of another project."""
    async with house.client(app, house.keys["stranger"]) as opened:
        opened.base_url = httpx.URL("http://anything.test/openai/v1/")
        yield opened


@pytest.fixture
def calling(house: House, app: Api) -> Callable[[str], httpx.AsyncClient]:
    return lambda key: house.client(app, key)
