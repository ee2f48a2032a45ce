from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from service.cli.demo.kept import MARK, MARK_TEXT
from service.cli.demo.stage import ROOT
from tests.service.cli.processes import SECONDS, Running, alive, run

pytestmark = pytest.mark.slow


def pids_in(lines: list[str]) -> list[int]:
    return [int(found[1]) for line in lines if (found := re.search(r"✓ \w+ +pid (\d+)", line))]


def test_the_demo_buys_three_times_tells_three_ends_and_leaves_nothing(tmp_path: Path) -> None:
    ended = run("demo", cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = ended.stdout.splitlines()
    table = {line[:22].strip(): line[22:].split() for line in lines if line.startswith("    ")}
    assert table["jobs bought"] == ["1", "1", "1"]
    assert table["signature"] == ["valid", "valid", "valid"]
    finished, knew, had = (table[row][:3] for row in ("provider finished", "taskrelay knew", "subscriber had it"))
    assert all(float(a) <= float(b) <= float(c) for a, b, c in zip(finished, knew, had, strict=True))
    assert any("its push is dropped" in line for line in lines)
    passed = next(line for line in lines if "PASS" in line)
    assert "3 tasks, 3 jobs bought, 3 ends, 3 events delivered, 0 missing" in passed
    assert "\x1b" not in ended.stdout
    pids = pids_in(lines)
    assert len(pids) == 3 and alive(pids) == []
    assert list(tmp_path.iterdir()) == []


def test_a_demo_that_fails_says_what_is_known_keeps_it_and_exits_1(tmp_path: Path) -> None:
    ended = run("demo", "--only", "polled", "--stuck", "--within", "6", cwd=tmp_path)
    assert ended.returncode == 1
    assert "  FAIL  task 2 (polled): no event within 6 s\n" in ended.stdout
    assert re.search(r"it is processing; next: poll at \d\d:\d\d:\d\d\. ", ended.stdout)
    assert "again: taskrelay demo --only polled" in ended.stdout
    kept = tmp_path / ".demo"
    assert {path.name for path in kept.iterdir()} >= {
        "task2.json",
        "taskrelay.log",
        "sandbox.log",
        "taskrelay.db",
        MARK,
    }
    known = json.loads((kept / "task2.json").read_text())
    assert known["task"]["status"] == "processing" and len(known["provider"]) == 1 and known["timeline"]["data"]
    assert alive(pids_in(ended.stdout.splitlines())) == []


def test_a_later_demo_clears_what_an_earlier_one_left_and_nothing_else(tmp_path: Path) -> None:
    kept = tmp_path / ".demo"
    kept.mkdir()
    (kept / MARK).write_text("my own notes")
    ended = run("demo", "--only", "pushed", "--json", cwd=tmp_path)
    assert ended.returncode == 0 and (kept / MARK).exists()
    (kept / MARK).write_text(MARK_TEXT)
    ended = run("demo", "--only", "pushed", "--json", cwd=tmp_path)
    told = json.loads(ended.stdout)
    assert ended.returncode == 0 and not kept.exists()
    assert told["ok"] is True and [task["scene"] for task in told["tasks"]] == ["pushed"]
    assert alive([one["pid"] for one in told["processes"].values()]) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_demo_ends_everything_it_started(number: int, tmp_path: Path) -> None:
    with Running.start("demo", "--stuck", cwd=tmp_path) as demo:
        demo.until(lambda line: "processing" in line)
        pids = pids_in(demo.said)
        assert len(pids) == 3 and alive(pids) == pids
        assert demo.end(number) == 130
    assert "interrupted; everything it started has ended" in demo.said[-1]
    assert alive(pids) == []
    assert list(tmp_path.iterdir()) == []


def test_without_the_independent_library_it_says_how_to_get_it(tmp_path: Path) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.modules['standardwebhooks'] = None\n"
        "sys.argv = ['taskrelay', 'demo']\n"
        "from service.cli import main; main()"
    )
    said = subprocess.run(
        [sys.executable, "-P", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert (said.returncode, said.stdout) == (1, "")
    assert "standardwebhooks" in said.stderr and "pip install" in said.stderr


def test_a_scene_there_is_not_is_wrong_usage(tmp_path: Path) -> None:
    ended = run("demo", "--only", "pulled", cwd=tmp_path)
    assert ended.returncode == 2 and "push-lost" in ended.stderr
