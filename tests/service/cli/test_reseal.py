"""A key is rotated by the run the page describes: on a stopped database, beside a serving one, and through a kill."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service.cli.app import app
from service.cli.demo.stage import clean_environment, free_port, our_command
from service.cli.reseal import lines
from service.cli.terminal import Stop
from service.core.keys import Keyring
from service.pipeline.orders import SECRET
from service.settings import environment
from storage import seals
from tests.service.cli.conftest import Relay
from tests.service.cli.inside import said_json
from tests.service.cli.processes import Running, run_json

OLD, NEW = "mhPpmPCMNnDmSRsuqzyzsbZJ2cjRyc7Z", "Vt4R9qLw2XbYk7Zs0dHf5GjN8aPcUeIo"  # of no use elsewhere
BEFORE, BOTH, AFTER = ({"TASKRELAY_SECRET_KEYS": keys} for keys in (OLD, f"{NEW},{OLD}", NEW))
OLD_ID, NEW_ID = Keyring([OLD.encode()]).key_ids[0], Keyring([NEW.encode()]).key_ids[0]


def ran(*arguments: str, settings: Mapping[str, str]) -> tuple[int, Any]:
    """A command in this process and folder: its exit code and document."""
    ended = CliRunner().invoke(app, [*arguments, "--json"], env=settings)
    if isinstance(ended.exception, Stop):
        return ended.exception.code, ended.exception.text
    return ended.exit_code, json.loads(ended.stdout)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the database is made."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in environment() if name.startswith("TASKRELAY_")]:
        monkeypatch.delenv(name)
    return tmp_path


def test_after_resealing_the_old_key_is_not_needed_any_more(folder: Path) -> None:
    ran("keys", "create", "--name", "me", "--scope", "read", settings=BEFORE)
    _, looked = ran("db", "reseal", "--dry-run", settings=BOTH)
    assert (looked["resealed"], looked["unused"]) == (0, [])
    assert {one["id"]: one["sealed"] for one in looked["keys"]} == {OLD_ID: 1, NEW_ID: 0}
    code, done = ran("db", "reseal", settings=BOTH)
    assert (code, done["resealed"], done["unused"]) == (0, 1, [OLD_ID])
    told = lines(done)
    assert told[0] == f"1 sealed again with key {NEW_ID}." and told[-1].startswith(f"Nothing is sealed with {OLD_ID}")
    assert ran("db", "reseal", settings=AFTER) == (
        0,
        {
            "newest": NEW_ID,
            "resealed": 0,
            "left": 0,
            "failed": [],
            "keys": [{"id": NEW_ID, "sealed": 1, "configured": True}],
            "unused": [],
        },
    )


def test_without_the_old_key_it_is_named_and_nothing_is_lost(folder: Path) -> None:
    ran("keys", "create", "--name", "me", "--scope", "read", settings=BEFORE)
    code, told = ran("db", "reseal", settings=AFTER)
    assert code == 1 and OLD_ID in told["failed"][0]["why"]
    assert f"  key {OLD_ID}  seals 1  not in TASKRELAY_SECRET_KEYS" in lines(told)
    assert ran("db", "reseal", settings=BOTH)[1]["resealed"] == 1


def test_a_database_that_is_not_there_is_not_made(folder: Path) -> None:
    code, why = ran("db", "reseal", settings=BEFORE)
    assert code == 1 and why.startswith("db reseal: there is no database at")
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_beside_a_serving_process_its_endpoints_keep_their_secrets(tmp_path: Path) -> None:
    made = run_json("keys", "create", "--name", "me", "--scope", "endpoints", cwd=tmp_path, settings=BEFORE)
    local = {"TASKRELAY_EGRESS__ALLOW": "127.0.0.0/8", "TASKRELAY_EGRESS__PORTS": "*"}
    with Running.start("serve", "--port", str(free_port()), "--json", cwd=tmp_path, settings=BEFORE | local) as serving:
        relay = _relay(serving.ready()["url"], tmp_path, made["key"])
        endpoint = said_json(
            relay, "endpoints", "create", "http://127.0.0.1:9/hook", "--signature", "v1a", "--header", "x-key=1"
        )
        assert serving.end() == 0
    with Running.start("serve", "--port", str(free_port()), "--json", cwd=tmp_path, settings=BOTH | local) as serving:
        relay = _relay(serving.ready()["url"], tmp_path, made["key"])
        done = run_json("db", "reseal", cwd=tmp_path, settings=BOTH)
        assert (done["resealed"], done["unused"], done["left"]) == (
            5,
            [OLD_ID],
            0,
        )  # one is the answer that holds the secret
        assert said_json(relay, "endpoints", "get", endpoint["id"])["headers"] == {"x-key": "****"}
        assert serving.end() == 0
    with Running.start("serve", "--port", str(free_port()), "--json", cwd=tmp_path, settings=AFTER | local) as serving:
        relay = _relay(serving.ready()["url"], tmp_path, made["key"])
        assert said_json(relay, "endpoints", "get", endpoint["id"])["headers"] == {"x-key": "****"}
        assert serving.end() == 0


def _relay(url: str, folder: Path, key: str) -> Relay:
    client = {"TASKRELAY_URL": url, "TASKRELAY_KEY": key}
    return Relay(url=url, sandbox="", folder=folder, settings={}, client=client)


@pytest.mark.slow
def test_a_kill_in_the_middle_leaves_every_secret_readable_and_the_next_run_ends_it(tmp_path: Path) -> None:
    run_json("keys", "create", "--name", "me", "--scope", "read", cwd=tmp_path, settings=BEFORE)
    ring, file = Keyring([OLD.encode()]), tmp_path / "taskrelay.db"
    with closing(sqlite3.connect(file)) as database, database:
        [(project,)] = database.execute("SELECT id FROM projects").fetchall()
        database.execute(
            "INSERT INTO endpoints (id, project_id, url, status, hidden, format, max_in_flight, created_at, updated_at, signatures)"
            " VALUES ('ep_1', ?, 'https://app.test/', 'active', 0, 'standard', 8, 1, 1, 'v1')", (project,),
        )  # fmt: skip
        rows = ((n, ring.seal(f"secret {n}", purpose=SECRET, nonce=n.to_bytes(12, "big"))) for n in range(20_000))
        database.executemany("INSERT INTO endpoint_secrets VALUES ('ep_1', ?, ?, 1, 9)", rows)
    _stop_in_the_middle(file)
    command, env = our_command("db", "reseal"), clean_environment() | BOTH
    with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL) as running:
        while not _done(file):
            assert running.poll() is None, "it ended before anything was done"
            time.sleep(0.01)
        running.send_signal(signal.SIGKILL)
    _go_on(file)
    killed = _done(file)
    assert 0 < killed < 20_001, "it was over before it was killed"
    both = Keyring([NEW.encode(), OLD.encode()])
    assert [both.open(text, SECRET) for text in _texts(file)] == [f"secret {n}" for n in range(20_000)]
    assert run_json("db", "reseal", cwd=tmp_path, settings=BOTH)["resealed"] == 20_001 - killed
    assert [Keyring([NEW.encode()]).open(text, SECRET) for text in _texts(file)] == [
        f"secret {n}" for n in range(20_000)
    ]


def _stop_in_the_middle(file: Path) -> None:
    """Whoever comes to the ten-thousandth secret counts for ever: however long we take to kill it, it is not done."""
    with closing(sqlite3.connect(file)) as database:
        database.execute(
            "CREATE TRIGGER endless BEFORE UPDATE ON endpoint_secrets WHEN new.number = 10000 BEGIN"
            " SELECT count(*) FROM"
            " (WITH RECURSIVE counting(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counting) SELECT n FROM counting); END"
        )


def _go_on(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.execute("DROP TRIGGER endless")


def _done(file: Path) -> int:
    with closing(sqlite3.connect(file)) as database:
        return int(dict(database.execute(seals.USE).fetchall()).get(f"k1.{NEW_ID}", 0))


def _texts(file: Path) -> Iterator[str]:
    with closing(sqlite3.connect(file)) as database:
        yield from (text for (text,) in database.execute("SELECT sealed FROM endpoint_secrets ORDER BY number"))
