"""Every statement and the schema in PostgreSQL's reading, judged by a real PostgreSQL."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from typing import TypeAlias

import asyncpg
import pytest

from storage.dialect import postgres
from tests.postgres import database
from tests.storage import texts
from tests.storage.schemas import expected, of_postgres

Link: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
NAME = f"taskrelay_texts_{os.getpid()}"  # sessions may share a server
WHAT_WE_PASS = {"text", "int8", "bytea", "text[]", "json"}  # a number inferred as numeric would want a Decimal


async def on_server(url: str, *commands: str, database: str | None = None) -> None:
    link: Link = await asyncpg.connect(url, database=database)
    try:
        for command in commands:
            await link.execute(command)
    finally:
        await link.close()


@pytest.fixture(scope="module")
def migrated(postgres_server: str) -> Iterator[str]:
    """A server with a database of this name that holds the schema."""
    drop = f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)"
    asyncio.run(database(postgres_server, NAME))
    yield postgres_server
    asyncio.run(on_server(postgres_server, drop))


@pytest.fixture
async def link(migrated: str) -> AsyncIterator[Link]:
    opened: Link = await asyncpg.connect(migrated, database=NAME)
    yield opened
    await opened.close()


async def test_the_schema_is_the_same_as_in_the_embedded_engine(link: Link) -> None:
    assert await of_postgres(link) == expected()


@pytest.mark.parametrize("text", texts.statements().values(), ids=texts.statements())
async def test_a_statement_prepares_with_its_parameters(link: Link, text: str) -> None:
    translated, names = postgres(text)
    prepared = await link.prepare(translated)
    wanted = [parameter.name for parameter in prepared.get_parameters()]
    assert len(wanted) == len(names)
    assert set(wanted) <= WHAT_WE_PASS
    assert await prepared.explain(*([None] * len(names)))  # preparing reads a text, explaining also plans it
