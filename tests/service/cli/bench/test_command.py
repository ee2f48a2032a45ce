"""The bench itself, whole and interrupted: what it says, and that nothing of it stays."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from secrets import token_urlsafe

import pytest

from tests import postgres
from tests.service.cli.inside import said
from tests.service.cli.processes import Running, run, run_json

FEW = ("--tasks", "200")
FIGURES = {
    "commits_per_second", "units_per_second", "tasks_created_per_second", "callbacks_per_second", "deliveries_per_second",
    "callback_to_subscriber_p50_ms", "callback_to_subscriber_p99_ms",
}  # fmt: skip


@pytest.mark.slow
def test_it_measures_on_a_database_of_its_own_beside_the_configured_one_and_leaves_nothing(tmp_path: Path) -> None:
    own = tmp_path / "own.db"
    found = run_json("bench", *FEW, cwd=tmp_path, settings={"TASKRELAY_DATABASE_URL": f"sqlite:///{own}"})
    assert set(found["figures"]) == FIGURES and all(value > 0 for value in found["figures"].values())
    assert found["database"] == {"engine": "sqlite", "where": f"in {tmp_path}"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_interruption_leaves_nothing_either(tmp_path: Path) -> None:
    with Running.start("bench", *FEW, cwd=tmp_path) as bench:
        bench.until(lambda line: "measuring callbacks" in line)
        [folder] = tmp_path.iterdir()
        assert folder.name.startswith(".taskrelay-bench-")
        assert bench.end(signal.SIGINT) == 130
    assert bench.said[-1] == "bench: interrupted; everything it made is gone" and list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_server_that_is_named_is_measured_and_as_it_was_before_afterwards(tmp_path: Path) -> None:
    with postgres.server(durable=True) as url:
        before = databases(url)
        ended = run("bench", *FEW, "--database-url", url, "--json", cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert json.loads(ended.stdout)["database"]["engine"] == "postgresql"
        assert databases(url) == before


def databases(url: str) -> list[str]:
    import asyncio

    import asyncpg

    async def names() -> list[str]:
        link = await asyncpg.connect(url)
        try:
            return [row["datname"] for row in await link.fetch("SELECT datname FROM pg_database ORDER BY datname")]
        finally:
            await link.close()

    return asyncio.run(names())


def test_a_configured_server_is_not_burdened_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKRELAY_DATABASE_URL", "postgresql://relay:secret@db.example.org/relay")
    monkeypatch.setenv("TASKRELAY_SECRET_KEYS", token_urlsafe(48))
    ended = said(None, "bench")
    assert ended.code == 2 and "--database-url postgresql://" in ended.err and "secret" not in ended.err


def test_only_a_server_can_be_named() -> None:
    ended = said(None, "bench", "--database-url", "sqlite:///mine.db")
    assert ended.code == 2 and ended.err.startswith("--database-url: write postgresql://")


def test_a_server_that_is_not_there_is_told_in_a_line(tmp_path: Path) -> None:
    ended = said(None, "bench", "--database-url", f"postgresql://relay:secret@/relay?host={tmp_path}")
    assert ended.code == 1 and ended.err.startswith("bench: nobody listens at ") and "secret" not in ended.err
