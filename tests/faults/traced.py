"""Runs a command under strace(1), and judges what it saw: whether an acknowledgement left before what it acknowledges was synced."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

SEEN = "pwrite64,fdatasync,fsync,write,writev,sendto,sendmsg"
WHAT_TO_DO = "strace is needed (apt install strace), and leave to trace (docker run --cap-add SYS_PTRACE)"

CALL = re.compile(r"^(?:\[pid +)?(?P<pid>\d+)\]? +(?P<name>\w+)\((?P<rest>.*)$")
RESUMED = re.compile(r"^(?:\[pid +)?(?P<pid>\d+)\]? +<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)$")
ANSWER = re.compile(r'"HTTP/1\.1 (?P<status>\d{3})')


def require_strace() -> None:
    """Raises AssertionError, with what to do, where nothing can be traced."""
    path = shutil.which("strace")
    assert path is not None, WHAT_TO_DO
    tried = subprocess.run([path, "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    assert tried.returncode == 0, f"{WHAT_TO_DO}. It said: {tried.stderr.strip()}"


def tracing(log: Path, plain: Sequence[str]) -> tuple[str, ...]:
    """The command, watched. -D: what we start is the command itself, not its tracer; a signal to it arrives."""
    return ("strace", "-D", "-f", "-y", "--seccomp-bpf", "-s", "40", "-e", f"trace={SEEN}", "-o", str(log), *plain)


def failing(call: str, error: str, when: str, plain: Sequence[str]) -> tuple[str, ...]:
    """The command, with a call that fails: `when` is strace's own, "25" or "25+"."""
    inject = f"inject={call}:{error}:when={when}"
    return ("strace", "-D", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject, *plain)


def unsynced_answers(lines: Iterable[str]) -> tuple[int, list[str]]:
    """How many answers in the 200s left, and those that left while the log held something written and not synced.

    Exact when one request is under way at a time: what is unsynced then is what the answer acknowledges.
    """
    answers, early, written = 0, list[str](), False
    for name, rest, ended in _calls(lines):
        if name == "pwrite64" and "-wal>" in rest:
            written = True  # from its beginning
        elif name in ("fdatasync", "fsync") and "-wal>" in rest and ended:
            written = written and not rest.rstrip().endswith("= 0")
        elif (found := ANSWER.search(rest)) is not None and found["status"].startswith("2") and not ended:
            answers += 1
            if written:
                early.append(rest)
    return answers, early


def _calls(lines: Iterable[str]) -> Iterator[tuple[str, str, bool]]:
    """Each call twice, as it begins and as it ends: (name, arguments and result so far, whether it ended)."""
    begun: dict[str, str] = {}
    for line in lines:
        if (found := RESUMED.match(line)) is not None:
            yield found["name"], begun.pop(found["pid"], "") + found["rest"], True
        elif (found := CALL.match(line)) is not None:
            rest = found["rest"]
            yield found["name"], rest, False
            if rest.endswith("<unfinished ...>"):
                begun[found["pid"]] = rest.removesuffix("<unfinished ...>")
            else:
                yield found["name"], rest, True
