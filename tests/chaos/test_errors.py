"""A trace in a log is a mistake of ours, unless it says in the storage's words that the database is away."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.chaos.errors import traces

AWAY = "Traceback (most recent call last):\n  File …\nstorage.errors.Unavailable: the database cannot be used just now"
OURS = "Traceback (most recent call last):\n  File …\nKeyError: 'x'"
LOST = "Traceback (most recent call last):\n  File …\nasyncpg.exceptions.CannotConnectNowError: starting up"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (json.dumps({"logger": "taskrelay.runtime", "text": "sweep failed", "error": AWAY}), 0),
        (json.dumps({"logger": "taskrelay.runtime", "text": "sweep failed", "error": OURS}), 1),
        (json.dumps({"logger": "taskrelay.runtime", "text": "sweep failed", "error": LOST}), 1),
        (json.dumps({"logger": "asyncpg.pool", "text": "retrying", "error": LOST}), 0),
        (OURS, 1),
        ("taskrelay: stopping took 29 seconds", 0),
    ],
)
def test_a_trace_is_found_unless_the_database_was_away(tmp_path: Path, line: str, found: int) -> None:
    log = tmp_path / "replica_0.log"
    log.write_text(f"{line}\n")
    assert len(traces(log)) == found


def test_a_replica_that_wrote_nothing_made_no_mistake(tmp_path: Path) -> None:
    assert traces(tmp_path / "replica_0.log") == []
