"""A service whose log nobody reads, as real processes: it serves on, it stops in time, and a reader who comes back misses nothing."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
import pytest

from service.cli.demo.stage import clean_environment, our_command

pytestmark = pytest.mark.slow  # processes, and requests by the hundred

SECONDS = 60.0
REQUESTS = 600  # a line each of a quarter of a kilobyte; a pipe takes 64
STOPPED_SECONDS = 20.0  # of which the log gets two


@contextmanager
def serving(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes], str]]:
    """A process, its log, of which nothing is read but the first lines, and where it listens."""
    popen = subprocess.Popen(
        our_command("serve", "--port", "0", "--json"),
        cwd=folder,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        start_new_session=True,
    )
    assert popen.stdout is not None
    try:
        while (line := json.loads(_line(popen.stdout)))["text"] != "ready":
            pass
        yield popen, popen.stdout, line["url"]
    finally:
        popen.kill()
        popen.stdout.close()
        popen.wait()


def _line(pipe: IO[bytes]) -> bytes:
    """Byte by byte: not one of the next line."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(pipe.fileno(), 1)
        assert byte, line
        line += byte
    return line


def ask(url: str) -> list[str]:
    """The ids of requests that are lines of the log, each answered."""
    with httpx.Client(base_url=url, trust_env=False, timeout=SECONDS) as client:
        return [client.get("/v1/whoami").headers["x-request-id"] for _ in range(REQUESTS)]


def test_a_log_that_nobody_reads_stops_nobody_and_holds_up_no_stop(tmp_path: Path) -> None:
    with serving(tmp_path) as (popen, _, url):
        assert len(ask(url)) == REQUESTS
        popen.terminate()
        assert popen.wait(STOPPED_SECONDS) == 0


def test_a_reader_who_comes_back_reads_all_of_it_in_its_order(tmp_path: Path) -> None:
    with serving(tmp_path) as (popen, pipe, url):
        asked = ask(url)
        popen.terminate()
        lines = [json.loads(line) for line in pipe.read().splitlines()]
        assert popen.wait(STOPPED_SECONDS) == 0
    assert [line["request_id"] for line in lines if line["text"] == "request"] == asked
    assert not any("dropped" in line for line in lines)
