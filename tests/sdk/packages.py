"""The SDKs as published, each in a folder of its own under build/, installed once from a lock with hashes."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CACHE = ROOT / "build" / "sdk"
NODE_VERSION = "7.55.0"
MAJORS = ("2", "3")


def python(major: str) -> Path:
    """Where the packages of this major version are."""
    lock = ROOT / "tests" / "sdk" / f"requirements-openai-{major}.txt"
    place = CACHE / f"{major}-{sys.version_info.major}.{sys.version_info.minor}-{digest(lock.read_bytes())}"
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet"]
    return installed(place, [*pip, "--require-hashes", "--target", str(place), "-r", str(lock)])


def node() -> Path:
    """The folder with `node_modules`."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.fail(
            "the SDK for Node is run with node and npm, which are not on the PATH: install Node.js 20.10 or later"
        )
    place = CACHE / f"node-{NODE_VERSION}"
    wanted = [npm, "install", "--no-audit", "--no-fund", "--save-exact", "--prefix", str(place)]
    return installed(place, [*wanted, f"openai@{NODE_VERSION}"])


def installed(place: Path, command: Sequence[str]) -> Path:
    """Once, whoever else wants the same at the same time; what broke off is begun anew."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "whole").exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
            if ended.returncode:
                pytest.fail(
                    f"{' '.join(command)}: not installed (no way to the registry?)\n{ended.stdout}{ended.stderr}"
                )
            (place / "whole").touch()
    return place


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
