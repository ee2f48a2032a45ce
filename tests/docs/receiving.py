"""The receivers of docs/receivers as running programs, with what the pages say must be installed."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from service.cli.demo.stage import free_port
from tests.docs.pages import ROOT, blocks, program

CACHE = ROOT / "build" / "receivers"  # packages, fetched once; make clean removes it
PATIENCE_SECONDS = 120


@dataclass
class Receiver:
    """A program that runs. `said`: its lines, one for each thing it decided to do."""

    port: int
    said: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/done"


@dataclass(frozen=True)
class Receiving:
    """How to run one of the pages' programs: writes it into a folder and says the command and what it takes."""

    name: str
    prepare: Callable[[Path], Sequence[str]]

    @asynccontextmanager
    async def running(self, folder: Path, secret: str) -> AsyncIterator[Receiver]:
        """The program in a folder that keeps its books; ends with the context, the hard way."""
        with alone():
            command = await asyncio.to_thread(self.prepare, folder)
        receiver = Receiver(free_port())
        process = await asyncio.create_subprocess_exec(
            *(str(receiver.port) if word == "PORT" else word for word in command),
            cwd=folder,
            env={
                **os.environ,
                "SECRET": secret,
                "PORT": str(receiver.port),
                "PYTHONPATH": f"{CACHE / 'python'}{os.pathsep}{folder}",
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None and process.stderr is not None
        reading = [
            asyncio.create_task(listen(process.stdout, receiver.said)),
            asyncio.create_task(listen(process.stderr, receiver.complaints)),
        ]
        try:
            await answering(receiver, process)
            yield receiver
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await asyncio.gather(*reading)


@contextmanager
def alone() -> Iterator[None]:
    """Nobody else installs meanwhile: tests of other files run beside these."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


async def listen(stream: asyncio.StreamReader, lines: list[str]) -> None:
    while line := await stream.readline():
        lines.append(line.decode().strip())


async def answering(receiver: Receiver, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            assert process.returncode is None, "\n".join(receiver.complaints)
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            await writer.wait_closed()
            return


def tool(name: str, hint: str) -> str:
    """A program of this machine. Its absence is a failure: what a page says would be untried."""
    found = shutil.which(name) or shutil.which(name, path="/usr/local/go/bin")
    if found is None:
        pytest.fail(f"docs/receivers is run with {name}, which is not on the PATH: {hint}")
    return found


def fetch(command: Sequence[str], folder: Path) -> None:
    """Install what a page says, from the language's own registry."""
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    if ended.returncode:
        pytest.fail(f"{' '.join(command)}: not installed (no way to the registry?)\n{ended.stdout}{ended.stderr}")


def python(name: str, *command: str) -> Callable[[Path], Sequence[str]]:
    """A program of the Python page. Packages go into a folder of their own, so that theirs are used and not ours."""

    def prepare(folder: Path) -> Sequence[str]:
        place, wanted = CACHE / "python", ["fastapi", "starlette", "uvicorn", "standardwebhooks"]
        if not all((place / package).is_dir() for package in wanted):
            place.mkdir(parents=True, exist_ok=True)
            pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet"]
            fetch([*pip, "--upgrade", "--target", str(place), *wanted], place)
        for file in ("orders.py", name):
            (folder / file).write_text(program("docs/receivers/python.md", file), encoding="utf-8")
        return [sys.executable, *command]

    return prepare


def express(folder: Path) -> Sequence[str]:
    place = CACHE / "node"
    if not (place / "node_modules" / "standardwebhooks").is_dir():
        place.mkdir(parents=True, exist_ok=True)
        npm = tool("npm", "install Node.js 20.10 or later")
        fetch([npm, "install", "--no-audit", "--no-fund", "--prefix", str(place), "express", "standardwebhooks"], place)
    modules = folder / "node_modules"
    if not modules.exists():
        modules.symlink_to(place / "node_modules")
    (folder / "receiver.mjs").write_text(program("docs/receivers/express.md", "receiver.mjs"), encoding="utf-8")
    return [tool("node", "install Node.js 20.10 or later"), "receiver.mjs"]


def readme(folder: Path) -> Sequence[str]:
    """The few lines of the first page, on a port of ours."""
    command = express(folder)
    [shown] = blocks("README.md", "js")
    assert "app.listen(3000)" in shown
    here = shown.replace("app.listen(3000)", "app.listen(Number(process.env.PORT), '127.0.0.1')")
    (folder / "receiver.mjs").write_text(here, encoding="utf-8")
    return command


def go(folder: Path) -> Sequence[str]:
    compiler, place = tool("go", "https://go.dev/dl, 1.21 or later"), CACHE / "go"
    place.mkdir(parents=True, exist_ok=True)
    if not (place / "go.mod").exists():
        [said] = blocks("docs/receivers/go.md", "sh")
        [wanted] = [line.split()[-1] for line in said.splitlines() if line.startswith("go get ")]
        fetch([compiler, "mod", "init", "receiver"], place)
        fetch([compiler, "get", wanted], place)
    (place / "main.go").write_text(program("docs/receivers/go.md", "main.go"), encoding="utf-8")
    fetch([compiler, "build", "-o", str(folder / "receiver"), "."], place)
    return [str(folder / "receiver")]


UVICORN = ("-m", "uvicorn", "--log-level", "warning", "--port", "PORT")
RECEIVERS = (
    Receiving("fastapi", python("receiver.py", *UVICORN, "receiver:app")),
    Receiving("starlette", python("door.py", *UVICORN, "door:app")),
    Receiving("standard library", python("plain.py", "plain.py")),
    Receiving("express", express),
    Receiving("go", go),
)
README = Receiving("readme", readme)
