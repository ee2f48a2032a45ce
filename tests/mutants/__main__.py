"""`make mutants`: plant each bug in a copy of the source, run the tests that should object, and say which ones did.

Exits 1 when more than `--spare` bugs go unnoticed, or when a bug can no longer be planted.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.catalogue import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("service", "storage", "tests", "docs", "deploy", "pyproject.toml", "README.md", "CHANGELOG.md", "Makefile")
MOST_SECONDS = 900
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the tests said. `by`: the first test that objected; None: nobody noticed."""

    name: str
    by: str | None
    seconds: float


def copy_source(to: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, to / name)


def plant(mutant: Mutant, root: Path) -> None:
    """Raises ValueError when the source no longer has the place, so that the catalogue is kept up."""
    for edit in mutant.edits:
        path = root / edit.file
        text = path.read_text()
        if text.count(edit.old) != 1:
            raise ValueError(f"{mutant.name}: its place in {edit.file} occurs {text.count(edit.old)} times, not once")
        path.write_text(text.replace(edit.old, edit.new))


def run_tests(root: Path, tests: tuple[str, ...], *, workers: int = 0) -> subprocess.CompletedProcess[str]:
    existing = [test for test in tests if (root / test).exists()]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *existing]
    if workers:
        command += ["-n", str(workers), "--dist", "loadfile"]
    return subprocess.run(
        command,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
        check=False,
    )


def try_one(mutant: Mutant) -> Verdict:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="taskrelay-mutant-") as folder:
        root = Path(folder)
        copy_source(root)
        plant(mutant, root)
        by: str | None = "a test that never ended"
        try:
            ran = run_tests(root, mutant.tests)
        except subprocess.TimeoutExpired:
            pass
        else:
            found = FAILED.search(ran.stdout)
            by = None if ran.returncode == 0 else found[1] if found else ran.stdout.strip().splitlines()[-1]
    return Verdict(mutant.name, by, time.monotonic() - began)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--spare", type=int, default=0, help="how many may go unnoticed")
    options = parser.parse_args()
    chosen = [one for one in MUTANTS if not options.names or one.name in options.names]
    if strangers := sorted(set(options.names) - {one.name for one in MUTANTS}):
        parser.error(f"there is no {', '.join(strangers)}; there is {', '.join(one.name for one in MUTANTS)}")
    healthy = run_tests(ROOT, tuple(sorted({test for one in chosen for test in one.tests})), workers=options.jobs)
    if healthy.returncode:
        say(healthy.stdout[-4000:])
        say("The tests fail without any bug planted; nothing can be said.")
        return 1
    unnoticed = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for mutant, verdict in zip(chosen, pool.map(try_one, chosen), strict=True):
            unnoticed += verdict.by is None
            said = "red" if verdict.by else "UNNOTICED"
            say(f"{said:9} {mutant.name:24} {verdict.seconds:4.0f} s  {verdict.by or mutant.harm}")
    say(f"{len(chosen) - unnoticed} of {len(chosen)} bugs turn the tests red")
    return int(unnoticed > options.spare)


if __name__ == "__main__":
    sys.exit(main())
