"""Runs many seeds over all cores, counts what they reached, and shows the first that fails so that it can be run again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.simulation.faults import plan_of
from tests.simulation.markers import MARKERS
from tests.simulation.simulation import Simulation, Verdict

SHM = Path("/dev/shm")
CHUNK = 10
LAST_LINES = 40
ENOUGH = 1000  # seeds in which every marker must have been reached
# Whatever else a seed draws, each of these is in nearly every one: without, it is the simulation that is broken.
SOME = 20
MOVES = {"customer": "orders", "ask": "provider requests", "event": "attempts", "push": "pushes"}


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder for the databases of one process; in memory where the machine has such a place."""
    folder = Path(tempfile.mkdtemp(prefix="taskrelay-sim-", dir=SHM if SHM.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_seed(seed: int, folder: Path, *, keep_lines: int = 400) -> Verdict:
    """One seed."""
    return Simulation(plan_of(seed), folder, keep_lines=keep_lines).run()


def run_some(seeds: Sequence[int]) -> list[Verdict]:
    """Several, in a process of their own."""
    with workplace() as folder:
        return [run_seed(seed, folder) for seed in seeds]


def run_all(first: int, count: int, processes: int, *, every_failure: bool = False) -> bool:
    """Run `count` seeds from `first`. Returns whether all held and, in a thousand or more, every marker was reached.

    Says what was seen on stdout, and how far it is on stderr.
    """
    began = time.monotonic()
    markers, counts, seeds_with = Counter[str](), Counter[str](), Counter[str]()
    seconds, done, broken = 0.0, 0, 0
    chunks = [range(start, min(start + CHUNK, first + count)) for start in range(first, first + count, CHUNK)]
    with ProcessPoolExecutor(processes) as pool:
        for verdicts in pool.map(run_some, chunks):
            for verdict in verdicts:
                done += 1
                seconds += verdict.seconds
                markers.update(verdict.markers)
                seeds_with.update(verdict.markers.keys())
                counts.update(verdict.counts)
                if verdict.violations:
                    broken += 1
                    if broken <= 3 or every_failure:
                        _show(verdict)
            if sys.stderr.isatty() or done % 100 < CHUNK:
                sys.stderr.write(f"\r{done}/{count} seeds, {broken} broken, {time.monotonic() - began:.0f} s")
                sys.stderr.flush()
    sys.stderr.write("\n")
    missing = [name for name in MARKERS if not seeds_with[name]] if count >= ENOUGH else []
    _sum_up(count, seconds, counts, seeds_with, broken, time.monotonic() - began)
    if missing:
        say(f"never reached in {count} seeds: {', '.join(missing)}")
    silent = [what for name, what in MOVES.items() if not counts[name]] if count >= SOME else []
    if silent:
        say(f"not one in {count} seeds, so nothing was tried: {', '.join(silent)}")
    return not (broken or missing or silent)


def _sum_up(
    count: int, seconds: float, counts: Counter[str], seeds_with: Counter[str], broken: int, took: float
) -> None:
    for name, meaning in MARKERS.items():
        say(f"  {seeds_with[name]:6}  {name:24} {meaning}")
    say(
        f"{count} seeds, {seconds / 3600:,.0f} virtual hours, {counts['customer']:,} orders, {counts['ask']:,} provider requests,"
        f" {counts['event']:,} attempts, {counts['push']:,} pushes, {counts['kill']:,} kills, {counts['pause']:,} pauses,"
        f" {counts['fault']:,} faults, {broken} violations, {took:.0f} s"
    )


def _show(verdict: Verdict) -> None:
    say(f"\nseed {verdict.seed} at {version()}")
    for line in verdict.lines[-LAST_LINES:]:
        say(f"  {line}")
    for violation in verdict.violations[:10]:
        say(f"  BROKEN {violation}")
    say(f"again: python -m tests.simulation --seed {verdict.seed} --trace")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def version() -> str:
    """Which code this is."""
    try:
        asked = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "an unknown version"
    return asked.stdout.strip()


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
