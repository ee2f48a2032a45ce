from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from service.cli.demo.killing import KILLS, TASKS
from service.cli.demo.stage import clean_environment, our_command
from tests.service.cli.processes import Running, alive

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def besieged(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        our_command("demo", "--kill", *more),
        cwd=folder,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_twenty_kills_lose_nothing_and_buy_nothing_twice(tmp_path: Path) -> None:
    ended = besieged(tmp_path, "--seed", "7", "--json")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    told = json.loads(ended.stdout)
    assert (told["ok"], told["seed"], told["kills"], told["tasks"]) == (True, 7, KILLS, TASKS)
    assert told["bought"] == told["ended"] == told["delivered"] == TASKS
    assert told["missing"] == told["bought_twice"] == told["unexplained"] == 0
    assert list(tmp_path.iterdir()) == []


def test_a_siege_that_loses_something_says_what_keeps_it_and_exits_1(tmp_path: Path) -> None:
    ended = besieged(tmp_path, "--only", "polled", "--stuck", "--within", "1", "--seed", "7")
    assert ended.returncode == 1, ended.stderr
    lines = ended.stdout.splitlines()
    assert "seed 7" in lines[0]
    assert any(line.split()[:2] == ["missing", str(TASKS)] for line in lines)
    assert any(line.startswith("  FAIL  order-1 (polled, ulazai): ") for line in lines)
    assert lines[-1].endswith("again: taskrelay demo --kill --only polled --seed 7")
    kept = tmp_path / ".demo"
    assert {path.name for path in kept.iterdir()} >= {"orders.json", "ledger.json", "taskrelay.log", "taskrelay.db"}
    assert len(json.loads((kept / "orders.json").read_text())) == TASKS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_siege_ends_everything_it_started(number: int, tmp_path: Path) -> None:
    with Running.start("demo", "--kill", cwd=tmp_path) as demo:
        demo.until(lambda line: "killed 5 of" in line)
        pids = children(demo.popen.pid)
        assert len(pids) >= 2
        assert demo.end(number) == 130
    assert "interrupted; everything it started has ended" in demo.said[-1]
    assert alive(pids) == []
    assert list(tmp_path.iterdir()) == []
