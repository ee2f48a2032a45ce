"""However and whenever a command is ended, it ends quietly and with the code that says so."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    said = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True, timeout=100)
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


# Counts what Python calls since we listen, and is interrupted at the n-th: any moment, and each time the same one.
INTERRUPTED_AT = """
import signal, sys
from service.cli import main
left = int(sys.argv.pop(1))
sys.argv[0] = "taskrelay"
listening = False
def count(frame, event, arg):
    global left, listening
    listening = listening or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    left -= listening
    if left == 0:
        sys.setprofile(None)
        signal.raise_signal(signal.SIGINT)
sys.setprofile(count)
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "calls"),
    [  # so many until it runs, or has ended
        ("--help", 200_000),
        ("tasks list", 700_000),
        ("events tail", 700_000),
        ("serve --port 0", 1_400_000),
        ("bench", 1_900_000),
        ("demo", 1_900_000),
    ],
)
def test_an_interruption_at_any_moment_of_the_start_is_quiet(command: str, calls: int, tmp_path: Path) -> None:
    nobody = ["--url", "http://127.0.0.1:1"] if command in ("tasks list", "events tail") else []
    moments = 6
    for nth in range(moments):
        moment = 1 + calls * nth // moments
        ended = subprocess.run(
            [sys.executable, "-c", INTERRUPTED_AT, str(moment), *command.split(), *nobody],
            env=clean_environment(),
            cwd=tmp_path,  # where `serve` puts its database
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert "Traceback" not in ended.stderr and "KeyboardInterrupt" not in ended.stderr, (moment, ended.stderr)
        # 0: a service that was already up ended in order; 3: nobody answered, before the moment came.
        other = (0,) if command.startswith("serve") else (3,) if nobody else ()
        assert ended.returncode in (130, *other), (moment, ended.stderr)


def test_an_interruption_while_nobody_answers_is_exit_130_and_not_a_word() -> None:
    with mute() as url:
        popen = start("tasks", "list", "--url", url)
        _asked(popen)
        popen.send_signal(signal.SIGINT)
        assert popen.communicate(timeout=100) == ("", "") and popen.returncode == 130


def test_a_termination_is_exit_143_and_not_a_word() -> None:
    with mute() as url:
        popen = start("tasks", "list", "--url", url)
        _asked(popen)
        popen.terminate()
        assert popen.communicate(timeout=100) == ("", "") and popen.returncode == 143


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
    assert popen.communicate(timeout=100)[1] == "" and popen.returncode == 141


def test_started_with_interruptions_switched_off_it_leaves_them_so() -> None:
    look = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); sys.argv = ['taskrelay', '--version']\n"
        "from service.cli import main\n"
        "try: main()\n"
        "except SystemExit: print(signal.getsignal(signal.SIGINT).name)"
    )
    said = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True, timeout=100)
    assert said.stdout.split()[-1] == "SIG_IGN"


def test_where_there_is_no_stdout_it_still_ends_well() -> None:
    ended = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *our_command("--version")], capture_output=True, text=True, timeout=20
    )
    assert (ended.returncode, ended.stderr) == (0, "")
