from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from service.cli.app import app
from service.cli.demo.stage import free_port
from service.cli.dev.command import called
from service.cli.terminal import Stop
from tests.service.cli.processes import SECONDS, Running, alive, run, run_json

LAST_WORDS = "What happens to your tasks"


def children(pid: int) -> list[int]:
    """The processes that this one started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def silent(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def soon(is_so: Callable[[], bool]) -> None:
    """Nobody tells of the end of another's process, so look."""
    end = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


class Up(Running):
    """A `dev` that is up, and what it started."""

    ports: tuple[int, int]
    started: list[int]

    def until_up(self) -> str:
        self.until(lambda line: LAST_WORDS in line)
        self.started = children(self.popen.pid)
        assert len(self.started) == 2 and alive(self.started) == self.started
        assert not any(silent(port) for port in self.ports)
        return "\n".join(self.said)

    def left_nothing(self) -> bool:
        return alive(self.started) == [] and all(silent(port) for port in self.ports)


@contextmanager
def developing(folder: Path, *more: str) -> Iterator[Up]:
    ports = free_port(), free_port()
    options = ("--port", str(ports[0]), "--sandbox-port", str(ports[1]), "--job-seconds", "0.3")
    with Up.start("dev", *options, *more, cwd=folder) as up:
        assert isinstance(up, Up)
        up.ports = ports
        yield up


def pasted(text: str, folder: Path) -> dict[str, object]:
    """What the printed curl comes to, pasted into a shell."""
    found = re.search(r"^curl .*?\n  -d .*?$", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    said = subprocess.run(
        ["sh", "-c", found[0]], cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=True
    )
    task: dict[str, object] = json.loads(said.stdout)
    return task


@pytest.mark.slow
def test_what_it_prints_works_as_printed_and_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    with developing(tmp_path) as up:
        text = up.until_up()
        task = pasted(text, tmp_path)
        assert (task["status"], task["reference"]) == ("succeeded", "order-8841")
        assert str(task["id"]) in up.until(lambda line: "task.succeeded" in line)
        film = httpx.get(str(task["output_url"]), follow_redirects=True, trust_env=False, timeout=SECONDS)
        assert (film.status_code, film.headers["content-type"]) == (200, "video/mp4")
        assert film.url.port == up.ports[1]
        exported = re.search(r"^export TASKRELAY_URL=(\S+) TASKRELAY_KEY=(\S+)$", text, re.MULTILINE)
        assert exported is not None
        reach = {"TASKRELAY_URL": exported[1], "TASKRELAY_KEY": exported[2]}
        assert (
            "why order-8841" in text and run("tasks", "why", "order-8841", cwd=tmp_path, settings=reach).returncode == 0
        )
        assert "endpoints create http://127.0.0.1:3000/hooks/done" in text
        run_json("endpoints", "create", "http://127.0.0.1:3000/hooks/done", cwd=tmp_path, settings=reach)
        assert run_json("audit", cwd=tmp_path, settings=reach)["counts"]["unexplained"] == 0

        second = run("dev", cwd=tmp_path)
        assert (second.returncode, second.stdout) == (1, "")
        assert f"is used by a `taskrelay dev` that runs, process {up.popen.pid}" in second.stderr
        assert alive(up.started) == up.started

        assert up.end(signal.SIGINT) == 0
        assert up.said[-1] == "dev: interrupted; everything it started has ended. .taskrelay-dev is kept"
        assert up.left_nothing()
    with developing(tmp_path) as up:  # the same key, and a reference that is free
        text = up.until_up()
        assert exported[2] in text and "order-8841" not in text
        assert pasted(text, tmp_path)["status"] == "succeeded"
        assert up.end() == 0
    assert [path.name for path in tmp_path.iterdir()] == [".taskrelay-dev"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_told_to_end_it_ends_everything_it_started(number: signal.Signals, tmp_path: Path) -> None:
    with developing(tmp_path) as up:
        up.until_up()
        assert up.end(number) == 0
        assert f"told to end ({number.name})" in up.said[-1]
        assert up.left_nothing()


@pytest.mark.slow
def test_killed_it_takes_everything_it_started_along_and_the_next_one_starts(tmp_path: Path) -> None:
    with developing(tmp_path) as up:
        up.until_up()
        assert up.end(signal.SIGKILL) == -signal.SIGKILL
        soon(up.left_nothing)
    with developing(tmp_path, "--fresh") as up:
        assert "order-8841" in up.until_up()
        assert up.end() == 0


@pytest.mark.slow
@pytest.mark.parametrize(("number", "name"), [(0, "sandbox"), (1, "taskrelay")])
def test_a_process_that_is_killed_ends_the_rest_by_its_name(number: int, name: str, tmp_path: Path) -> None:
    with developing(tmp_path) as up:
        up.until_up()
        by_name = sorted(up.started, key=lambda pid: b"serve" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"))
        os.kill(by_name[number], signal.SIGKILL)
        assert up.wait() == 1
        assert f"dev: {name} went away with code -9; the rest was ended too" in up.said
        assert up.left_nothing()


@pytest.mark.slow
def test_ended_while_it_comes_up_it_leaves_nothing(tmp_path: Path) -> None:
    with developing(tmp_path) as up:
        up.until(lambda line: "nothing is paid" in line)
        soon(lambda: bool(children(up.popen.pid)))
        up.started = children(up.popen.pid)
        assert up.end(signal.SIGINT) == 0
        assert up.left_nothing()


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_it(tmp_path: Path) -> None:
    with developing(tmp_path) as up:
        text = up.until_up()
        up.stop_reading()
        pasted(text, tmp_path)
        up.popen.wait(SECONDS)
        assert up.left_nothing()


def refused(*arguments: str) -> Stop:
    ended = CliRunner().invoke(app, ["dev", *arguments]).exception
    assert isinstance(ended, Stop)
    return ended


@pytest.mark.parametrize("option", ["--port", "--sandbox-port"])
def test_a_port_that_is_taken_is_named_before_anything_is_started(option: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        said = refused(option, str(port), "--folder", str(tmp_path / "dev"))
    assert said.code == 1
    assert said.text == (
        f"dev: port {port} of 127.0.0.1 is taken. Choose another, or leave {option} out to get a free one"
    )


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    assert "stays as it is" in refused("--folder", str(tmp_path), "--fresh").text
    assert (tmp_path / "notes").read_text() == "mine"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("{here}/.venv/bin/taskrelay", ".venv/bin/taskrelay"),
        ("{here}/my tools/bin/taskrelay", "'my tools/bin/taskrelay'"),
        ("/elsewhere/bin/taskrelay", "/elsewhere/bin/taskrelay"),
        ("-c", "taskrelay"),
    ],
)
def test_commands_are_printed_as_they_can_be_called_from_here(
    script: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [script.format(here=tmp_path), "dev"])
    assert called() == said
