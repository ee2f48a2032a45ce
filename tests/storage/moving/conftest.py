from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count

import asyncpg
import pytest

from tests import postgres
from tests.storage.moving.house import NOW as NOW

_numbers = count(1)


@pytest.fixture
async def new_house(postgres_server: str) -> AsyncIterator[str]:
    """The URL of a fresh, migrated, empty PostgreSQL database."""
    name = f"taskrelay_moving_{next(_numbers)}"
    yield await postgres.database(postgres_server, name)
    link = await asyncpg.connect(postgres_server)
    try:
        await link.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await link.close()
