"""Real second processes that open the same file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

PRELUDE = """
import asyncio, sys
from storage import lanes, projects, tasks
from storage.database import open_database
def say(text): print(text, flush=True)
def hear(): return sys.stdin.readline().strip()
"""


@contextmanager
def child(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Python running the body of an async `main`; killed at the end, however the test ends."""
    body = "".join(f"    {line}\n" for line in script.strip().splitlines())
    text = f"{PRELUDE}\nasync def main():\n{body}\nasyncio.run(main())\n"
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", text, *arguments], cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def tell(running: subprocess.Popen[str], line: str) -> None:
    assert running.stdin is not None
    running.stdin.write(f"{line}\n")
    running.stdin.flush()


def heard(running: subprocess.Popen[str]) -> str:
    """The next line it says."""
    assert running.stdout is not None
    assert running.stderr is not None
    line = running.stdout.readline()
    if not line:
        raise AssertionError(f"the child ended: {running.stderr.read()}")
    return line.strip()
