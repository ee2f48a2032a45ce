from __future__ import annotations

import asyncpg
import pytest

from storage.errors import StorageError
from storage.scratch import PREFIX, scratch_database
from tests import postgres


@pytest.mark.slow
async def test_it_is_empty_another_than_all_others_and_dropped_with_whoever_is_in_it() -> None:
    with postgres.server(durable=False) as url:
        async with scratch_database(url) as (first, shown), scratch_database(url) as (second, _):
            assert first != second and PREFIX in first and shown.startswith(PREFIX)
            link = await asyncpg.connect(first)
            assert await link.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
        assert link.is_closed() or await ended(link)
        with pytest.raises(asyncpg.InvalidCatalogNameError):
            await asyncpg.connect(first)


async def ended(link: asyncpg.Connection[asyncpg.Record]) -> bool:
    try:
        await link.fetchval("SELECT 1")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        return True
    return False


@pytest.mark.slow
async def test_whoever_may_not_make_one_is_told_what_to_ask_for() -> None:
    with postgres.server(durable=False) as url:
        link = await asyncpg.connect(url)
        await link.execute("CREATE ROLE bench_poor LOGIN")
        await link.close()
        with pytest.raises(StorageError, match="CREATEDB"):
            async with scratch_database(
                url.replace("postgres:", "bench_poor:", 1).replace("//postgres@", "//bench_poor@")
            ):
                raise AssertionError("it was made")


@pytest.mark.parametrize(
    "url", ["postgresql://u:secret@127.0.0.1:1/x", "postgresql://u:secret@[/x", "postgresql:///x?host=/nowhere"]
)
async def test_a_server_that_cannot_be_used_is_a_line_without_a_password(url: str) -> None:
    with pytest.raises(StorageError) as error:
        async with scratch_database(url):
            raise AssertionError("it was made")
    assert "secret" not in str(error.value)
