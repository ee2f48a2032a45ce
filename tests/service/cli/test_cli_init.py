"""However and whenever a command is ended, it ends quietly and with the code that says so."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from service.cli import INTERRUPTED, main, terminal
from service.cli.demo.stage import clean_environment, our_command


@contextmanager
def mute() -> Iterator[str]:
    """The URL of somebody who takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        yield f"http://127.0.0.1:{door.getsockname()[1]}"


def start(*arguments: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        our_command(*arguments),
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_code_of_an_interruption_is_the_same_everywhere() -> None:
    assert terminal.INTERRUPTED == INTERRUPTED == 130 and callable(main)


def test_the_door_of_the_command_loads_nothing_that_takes_time() -> None:
    look = "import sys; before = set(sys.modules); import service.cli; print(*sorted(set(sys.modules) - before))"
    said = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True, timeout=20)
    assert set(said.stdout.split()) <= {
        "service",
        "service.cli",
        "signal",
        "_signal",
        "enum",
        "types",
        "operator",
        "keyword",
        "functools",
        "collections",
        "reprlib",
        "itertools",
        "_collections",
        "_functools",
        "_operator",
    }


@pytest.mark.slow
@pytest.mark.parametrize("command", [["tasks", "list"], ["serve"], ["bench"], ["--help"], ["demo"], ["events", "tail"]])
def test_an_interruption_at_any_moment_of_the_start_is_quiet(command: list[str]) -> None:
    """Every 10 ms of the first 0.4 s. Python's own start, which is nobody's but its, takes the first 30 ms here."""
    with mute() as url:
        for moment in range(4, 40, 3):
            popen = start(*command, *(["--url", url] if command[0] in ("tasks", "events") else []))
            time.sleep(moment / 100)
            popen.send_signal(signal.SIGINT)
            _, said = popen.communicate(timeout=60)
            assert "Traceback" not in said and "KeyboardInterrupt" not in said, (moment, said)
            assert popen.returncode in (130, -signal.SIGINT, 0, 1, 2), (moment, said)  # -2: before Python listens


def test_an_interruption_while_nobody_answers_is_exit_130_and_not_a_word() -> None:
    with mute() as url:
        popen = start("tasks", "list", "--url", url)
        _asked(popen)
        popen.send_signal(signal.SIGINT)
        assert popen.communicate(timeout=20) == ("", "") and popen.returncode == 130


def test_a_termination_is_exit_143_and_not_a_word() -> None:
    with mute() as url:
        popen = start("tasks", "list", "--url", url)
        _asked(popen)
        popen.terminate()
        assert popen.communicate(timeout=20) == ("", "") and popen.returncode == 143


def _asked(popen: subprocess.Popen[str]) -> None:
    """Until it has a connection, and so waits for the answer."""
    while popen.poll() is None:
        links = []
        for entry in os.scandir(f"/proc/{popen.pid}/fd"):
            try:
                links.append(os.readlink(entry.path))
            except OSError:
                continue
        if any(link.startswith("socket:") for link in links):
            return


def test_a_reader_who_has_had_enough_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    popen = start("--help", stdout=write)
    os.close(write)
    assert popen.communicate(timeout=20)[1] == "" and popen.returncode == 141


def test_started_with_interruptions_switched_off_it_leaves_them_so() -> None:
    look = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); sys.argv = ['taskrelay', '--version']\n"
        "from service.cli import main\n"
        "try: main()\n"
        "except SystemExit: print(signal.getsignal(signal.SIGINT).name)"
    )
    said = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True, timeout=20)
    assert said.stdout.split()[-1] == "SIG_IGN"


def test_where_there_is_no_stdout_it_still_ends_well() -> None:
    ended = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *our_command("--version")], capture_output=True, text=True, timeout=20
    )
    assert (ended.returncode, ended.stderr) == (0, "")
