"""What the peers need, put into a folder of its own: a virtual environment, npm packages, a Redis.

Nothing is installed elsewhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = Path("build/peers").resolve()
# Debian's package and the libraries it needs beside those of every system.
DEBIAN = ("redis-server", "redis-tools", "libjemalloc2", "liblzf1", "libatomic1")


class Missing(Exception):
    """Something cannot be had on this machine; says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redis:
    """Where the server's program is."""

    folder: Path
    env: dict[str, str]

    def program(self, name: str) -> str:
        return str(self.folder / name)


def run(*command: str, cwd: Path | None = None) -> str:
    """A command's output. Raises `Missing` with the end of what it said."""
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{command[0]}: {error}") from error
    if done.returncode:
        raise Missing(f"{' '.join(command[:3])} … ended with {done.returncode}: {(done.stderr or done.stdout)[-400:]}")
    return done.stdout


def stale(made: Path, *sources: Path) -> bool:
    """Whether something must be made again: it is not there, or older than what it is made from."""
    return not made.exists() or any(made.stat().st_mtime < source.stat().st_mtime for source in sources)


def python() -> Path:
    """The peers' own environment, from pinned and hashed requirements."""
    venv, wanted = FOLDER / "venv", HERE / "requirements.txt"
    if stale(venv / "ready", wanted):
        run(sys.executable, "-m", "venv", "--clear", str(venv))
        pip = (str(venv / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        run(*pip, "--require-hashes", "-r", str(wanted))
        (venv / "ready").touch()
    return venv / "bin"


def node() -> Path:
    """A folder with BullMQ and undici, as locked."""
    folder = FOLDER / "bullmq"
    if stale(folder / "ready", HERE / "bullmq/package-lock.json"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / "bullmq" / name, folder)
        # Not `npm ci`: it wants the native parts of other systems in the lock, which `npm install` here does not write there.
        run("npm", "install", "--no-audit", "--no-fund", cwd=folder)
        (folder / "ready").touch()
    shutil.copy(HERE / "bullmq/deliver.mjs", folder)
    return folder


def redis() -> Redis:
    """A Redis on the path, or Debian's, unpacked."""
    if (found := shutil.which("redis-server")) is not None:
        return Redis(folder=Path(found).parent, env=dict(os.environ))
    folder = FOLDER / "redis"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            run("apt-get", "download", *DEBIAN, cwd=folder)
        except Missing:
            run("apt-get", "update")  # the lists may be old, or not there yet
            run("apt-get", "download", *DEBIAN, cwd=folder)
        for package in folder.glob("*.deb"):
            run("dpkg-deb", "-x", str(package), str(folder))
        (folder / "ready").touch()
    libraries = ":".join(str(path) for path in (folder / "usr/lib").iterdir() if path.is_dir())
    return Redis(folder=folder / "usr/bin", env={**os.environ, "LD_LIBRARY_PATH": libraries})
