from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.surroundings import PAINTING, plain

ROOT = Path(__file__).parent.parent


def test_what_changes_what_is_told_is_taken_out_and_the_rest_stays() -> None:
    found = {"COLUMNS": "37", "GITHUB_ACTIONS": "true", "Taskrelay_Key": "trk_x", "HTTPS_PROXY": "p", "NO_PROXY": "a"}
    plain(found)
    assert found == {
        "HTTPS_PROXY": "p",
        "NO_PROXY": "a,127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def test_it_is_so_for_every_test() -> None:
    assert not PAINTING & set(os.environ) and "127.0.0.1" in os.environ["NO_PROXY"]


# Does what our tests do before they start a process, and becomes one.
STARTED = """
import os
from tests import surroundings
surroundings.heard()
os.execv("/bin/sh", ["sh", "-c", "echo up; exec sleep 60"])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_was_ignored_where_we_come_from_is_heard_by_what_we_start(number: signal.Signals) -> None:
    ignoring = (
        f"import os, signal, sys; signal.signal({int(number)}, signal.SIG_IGN)\n"
        "os.execv(sys.executable, [sys.executable, '-c', sys.argv[1]])"
    )
    command = [sys.executable, "-c", ignoring, STARTED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as started:
        assert started.stdout is not None and started.stdout.readline() == b"up\n"
        started.send_signal(number)
        assert started.wait(60) != 0
