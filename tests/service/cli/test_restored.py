"""A database that was brought back by other tools is said to be an older copy, so that nothing is bought a second time."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest
from typer.testing import CliRunner

from service.bootstrap.world import clock
from service.cli.app import app
from service.cli.terminal import Stop
from storage.database import open_database
from tests import postgres

NOBODY = "postgresql://nobody@127.0.0.1:1/none"


def told(url: str, *arguments: str) -> tuple[int, str]:
    """The exit code and what was said."""
    environment = {"TASKRELAY_DATABASE_URL": url, "TASKRELAY_SECRET_KEYS": "kjhsdfkjh2398fkjhsdfkjhsdf98234kjhsdf234"}
    ended = CliRunner().invoke(app, ["db", "restored", *arguments], env=environment)
    if isinstance(ended.exception, Stop):
        return ended.exception.code, ended.exception.text
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return ended.exit_code, ended.stdout


@pytest.fixture
def file(tmp_path: Path) -> Path:
    async def made() -> None:
        await (await open_database(f"sqlite:///{tmp_path}/t.db", clock=clock)).close()

    asyncio.run(made())
    return tmp_path / "t.db"


def marked(file: Path) -> int | None:
    with closing(sqlite3.connect(file)) as raw:
        at: int | None = raw.execute("SELECT copied_at FROM installation").fetchone()[0]
        return at


def test_the_instant_is_kept_and_the_earlier_of_two_counts(file: Path) -> None:
    code, said = told(f"sqlite:///{file}", "--at", "2026-01-02T03:04:05Z")
    assert code == 0
    assert "is a copy of 2026-01-02T03:04:05.000000Z" in said and "taskrelay serve" in said
    assert marked(file) == 1_767_323_045_000_000
    assert json.loads(told(f"sqlite:///{file}", "--json")[1]) == {"copied_at": "2026-01-02T03:04:05.000000Z"}


def test_without_an_instant_it_is_what_the_copy_knows(file: Path) -> None:
    assert told(f"sqlite:///{file}")[0] == 0
    with closing(sqlite3.connect(file)) as raw:
        assert raw.execute("SELECT copied_at = created_at FROM installation").fetchone() == (1,)


@pytest.mark.parametrize(("at", "code"), [("9999-01-01T00:00:00Z", 1), ("yesterday", 2), ("2026-01-02T03:04:05", 2)])
def test_an_instant_that_cannot_be_is_refused_by_the_option_s_name(file: Path, at: str, code: int) -> None:
    ended, said = told(f"sqlite:///{file}", "--at", at)
    assert (ended, said.startswith("--at ")) == (code, True)
    assert marked(file) is None


def test_a_file_that_somebody_serves_is_left_alone(file: Path) -> None:
    async def beside() -> tuple[int, str]:
        database = await open_database(f"sqlite:///{file}", clock=clock)
        try:
            database.claim_serving()
            return await asyncio.to_thread(told, f"sqlite:///{file}")
        finally:
            await database.close()

    code, said = asyncio.run(beside())
    assert (code, "is served by process" in said) == (1, True)
    assert marked(file) is None


def test_what_is_not_there_is_not_made(tmp_path: Path) -> None:
    code, said = told(f"sqlite:///{tmp_path}/t.db")
    assert (code, "there is no database at" in said) == (1, True)
    assert told(NOBODY)[0] == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres.server(durable=False) as url:
        yield url


@pytest.mark.slow
def test_on_postgresql_too_and_not_while_a_replica_is_connected(server: str) -> None:
    async def beside(url: str) -> tuple[int, str]:
        replica = await open_database(url, clock=clock)
        try:
            return await asyncio.to_thread(told, url)
        finally:
            await replica.close()

    async def marked(url: str) -> int | None:
        link = await asyncpg.connect(url)
        try:
            at: int | None = await link.fetchval("SELECT copied_at FROM installation")
            return at
        finally:
            await link.close()

    url = asyncio.run(postgres.database(server, "restored"))
    code, said = asyncio.run(beside(url))
    assert (code, "Stop every replica first" in said) == (1, True)
    assert asyncio.run(marked(url)) is None
    assert told(url, "--at", "2026-01-02T03:04:05Z")[0] == 0
    assert asyncio.run(marked(url)) == 1_767_323_045_000_000
