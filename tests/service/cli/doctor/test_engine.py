from __future__ import annotations

from dataclasses import replace

import pytest

from service.cli.doctor.engine import judge
from service.cli.doctor.finding import Grade
from storage.inspection import Inspected, Replica

SOUND = Inspected(
    engine="postgresql",
    version="18.4",
    schema=1,
    newest=1,
    pending=(),
    too_new=None,
    bytes=8_000_000,
    durability={"synchronous_commit": "on", "fsync": "on", "full_page_writes": "on"},
    timeouts={"statement_timeout": "5s", "lock_timeout": "2s"},
    role="relay",
    connections=6,
    most_connections=100,
    ahead_seconds=0.004,
)


def told(seen: Inspected, *, keys: bool = True) -> list[tuple[str, str, str | None]]:
    """What is not fine."""
    return [(str(one.grade), one.text, one.fix) for one in judge(seen, keys=keys) if one.grade is not Grade.FINE]


def test_of_a_sound_one_nothing_is_to_be_mended() -> None:
    assert told(SOUND) == []
    assert told(replace(SOUND, replicas=(Replica(owner="7-x", lanes=2, seconds=50.0),))) == []


@pytest.mark.parametrize(
    ("seen", "grade", "text", "fix"),
    [
        (replace(SOUND, pending=("0002_more",)), "wrong", "the schema lacks 0002_more", "taskrelay db migrate"),
        (replace(SOUND, too_new="the database has schema 9"), "wrong", "has schema 9", "pip install --upgrade"),
        (replace(SOUND, moving="it was moved"), "wrong", "it was moved", "taskrelay db copy --help"),
        (
            replace(SOUND, durability={**SOUND.durability, "synchronous_commit": "off"}),
            "wrong", "synchronous_commit is off", "ALTER ROLE relay SET synchronous_commit = on;",
        ),
        (
            replace(SOUND, durability={**SOUND.durability, "fsync": "off"}),
            "note", "fsync is off on the server", "ALTER SYSTEM SET fsync = on;",
        ),
        (replace(SOUND, standby=True), "wrong", "it is a standby", "the primary"),
        (replace(SOUND, timeouts={"lock_timeout": "0"}), "wrong", "lock_timeout of relay is off", "taskrelay db migrate"),
        (replace(SOUND, lacking=("tasks",)), "wrong", "may not read and write tasks", "db migrate --role"),
        (replace(SOUND, connections=95), "note", "95 connections are ours, of 100", "PgBouncer"),
        (replace(SOUND, ahead_seconds=31.0), "note", "31.0 s ahead of the server's", "timedatectl"),
        (replace(SOUND, ahead_seconds=-250.0), "wrong", "250.0 s behind the server's: receivers would", "timedatectl"),
    ],
)  # fmt: skip
def test_each_fault_is_told_once_with_its_line(seen: Inspected, grade: str, text: str, fix: str) -> None:
    [(found, said, line)] = told(seen)
    assert found == grade and text in said and line is not None and fix in line


def test_replicas_without_shared_keys_are_refused() -> None:
    [(grade, text, fix)] = told(SOUND, keys=False)
    assert grade == "wrong" and "SECRET_KEYS is not set" in text and fix is not None and "openssl rand" in fix


def test_a_file_is_migrated_by_whoever_serves_it() -> None:
    file = Inspected(
        engine="sqlite",
        version="3.45",
        schema=1,
        newest=2,
        pending=("0002_more",),
        too_new=None,
        bytes=1,
        durability={},
    )
    [(grade, text, _)] = told(file, keys=False)
    assert grade == "note" and "serve does it" in text
