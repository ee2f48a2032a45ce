"""The command that moves house: what it takes, what it says, how it ends. That it moves everything is storage's to prove."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.cli.moving import _facts, _lines
from storage.moving.course import Moved
from tests import postgres
from tests.service.cli.processes import run, run_json
from tests.storage.moving.house import furnished

MOVED = Moved(
    installation="house",
    tables={"audit": (1_200, "a" * 64), "tasks": (34, "b" * 64)},
    resumed=0,
    started_over=False,
    last_position=9,
)


@pytest.fixture
def new_house() -> Iterator[str]:
    with postgres.server(durable=False) as server:
        yield asyncio.run(postgres.database(server, "taskrelay_cli_moved"))


def test_the_keys_are_named_as_they_have_to_be_handed_on(tmp_path: Path) -> None:
    assert any("needs the TASKRELAY_SECRET_KEYS" in line for line in _lines(MOVED, tmp_path / "t.db"))
    (tmp_path / "taskrelay.secret").touch()
    named = f"TASKRELAY_SECRET_KEYS_FILE={tmp_path}/taskrelay.secret"
    assert any(named in line for line in _lines(MOVED, tmp_path / "t.db"))


def test_what_was_there_before_is_told(tmp_path: Path) -> None:
    def said(**more: object) -> str:
        facts = {name: getattr(MOVED, name) for name in Moved.__slots__}
        return "\n".join(_lines(Moved(**{**facts, **more}), tmp_path / "t.db"))

    assert "moved 1,234 rows of 2 tables" in said()
    assert "7 of them were there from a run before" in said(resumed=7)
    assert "everything was copied anew" in said(started_over=True)
    assert "has moved: all of it is in PostgreSQL" in said(tables={})


def test_a_program_gets_the_count_and_checksum_of_every_table() -> None:
    facts = _facts(MOVED)
    assert (facts["rows"], facts["already"], facts["tables"]["tasks"]) == (
        1_234,
        False,
        {"rows": 34, "digest": "b" * 64},
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("t.db", "postgresql://h/n"), 2, "the first is the SQLite file"),
        (("sqlite:///t.db", "sqlite:///u.db"), 2, "the second is to be the PostgreSQL database"),
        (("sqlite:///t.db",), 2, "TASKRELAY_DATABASE_URL is to be the PostgreSQL database"),
        (("sqlite:///t.db", "postgresql://h/n", "--target-is-gone"), 2, "is for --undo"),
        (("sqlite:///none.db", "postgresql://h/n"), 1, "there is no database at"),
        (("sqlite:///t.db", "postgresql://u:hidden@127.0.0.1:1/n"), 3, "cannot be reached"),
        (("sqlite:///t.db", "postgresql://u:hid@den:x/n"), 1, "cannot be read"),
    ],
)
def test_a_wrong_call_ends_with_one_line_and_no_password(
    tmp_path: Path, arguments: tuple[str, ...], code: int, told: str
) -> None:
    furnished(tmp_path / "t.db", rows=1)
    ended = run("db", "copy", *arguments, cwd=tmp_path)
    assert (ended.returncode, told in ended.stderr, ended.stdout) == (code, True, ""), ended.stderr
    assert not any(part in ended.stderr for part in ("hid@", "den:x", "hidden"))


@pytest.mark.slow
def test_there_and_back_with_the_address_in_the_settings(tmp_path: Path, new_house: str) -> None:
    furnished(tmp_path / "t.db", rows=3)
    settings = {"TASKRELAY_DATABASE_URL": new_house}
    first = run("db", "copy", "sqlite:///t.db", cwd=tmp_path, settings=settings)
    assert (first.returncode, "the same on both sides" in first.stdout) == (0, True), first.stderr
    assert new_house not in first.stdout + first.stderr
    again = run_json("db", "copy", "sqlite:///t.db", cwd=tmp_path, settings=settings)
    assert (again["already"], again["tables"]) == (True, {})
    assert run_json("db", "copy", "sqlite:///t.db", "--undo", cwd=tmp_path, settings=settings) == {"undone": True}
    twice = run("db", "copy", "sqlite:///t.db", "--undo", "--json", cwd=tmp_path, settings=settings)
    assert (twice.returncode, '"exit": 1' in twice.stderr, "has not moved" in twice.stderr) == (1, True, True)


@pytest.mark.slow
def test_coming_back_without_the_other_says_what_not_to_do(tmp_path: Path, new_house: str) -> None:
    furnished(tmp_path / "t.db", rows=1)
    run_json("db", "copy", "sqlite:///t.db", new_house, cwd=tmp_path)
    ended = run("db", "copy", "sqlite:///t.db", "--undo", "--target-is-gone", cwd=tmp_path)
    assert (ended.returncode, "would buy everything twice" in ended.stdout) == (0, True), ended.stderr
