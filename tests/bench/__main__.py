"""`make bench`: callbacks durable, deliveries signed and recorded, idle latency, memory, fairness, each beside its bare
ceiling; and PostgreSQL beside SQLite.

Compared runs are interleaved and reported as medians; the measured process has one core, the generator the other. Ratios hold from
machine to machine, absolutes do not. Writes `bench.json`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import orjson
import uvloop
from rich.console import Console

from tests.bench import fair_submits, fairness, idle, ingest, relaying, replicas
from tests.bench.row import Row, show
from tests.bench.stage import CORES

console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)

Tell = Callable[[str], None]
Part = Callable[[Path, argparse.Namespace, Tell], Awaitable[Sequence[Row]]]


async def callbacks(folder: Path, given: argparse.Namespace, tell: Tell) -> Sequence[Row]:
    return await ingest.rows(folder, given.count, given.rounds, tell)


async def deliveries(folder: Path, given: argparse.Namespace, tell: Tell) -> Sequence[Row]:
    return await relaying.rows(folder, given.count, given.rounds, tell)


async def latency(folder: Path, given: argparse.Namespace, tell: Tell) -> Sequence[Row]:
    tell("idle latency")
    return [await idle.row(folder / mode, mode, given.samples) for mode in ("verify", "trust")]


async def fair(folder: Path, given: argparse.Namespace, tell: Tell) -> Sequence[Row]:
    return [*await fairness.rows(folder / "endpoints", tell), *await fair_submits.rows(folder / "submits", tell)]


async def memory(folder: Path, given: argparse.Namespace, tell: Tell) -> Sequence[Row]:
    tell(f"memory with {given.queued} deliveries owed")
    return [await relaying.memory(folder / "memory", given.queued)]


async def second_engine(folder: Path, given: argparse.Namespace, tell: Tell) -> Sequence[Row]:
    return await replicas.rows(folder, given.count // 2, given.rounds, tell)


PARTS: dict[str, Part] = {
    "callbacks": callbacks,
    "deliveries": deliveries,
    "latency": latency,
    "fair": fair,
    "memory": memory,
    "replicas": second_engine,
}


async def bench(given: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    with console.status("") as status:
        for name in given.only or PARTS:
            with tempfile.TemporaryDirectory() as folder:
                rows += await PARTS[name](Path(folder), given, status.update)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("only", nargs="*", choices=[[], *PARTS], help="parts; all of them by default")
    parser.add_argument("--count", type=int, default=20_000, help="callbacks and deliveries a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=300, help="idle latency samples")
    parser.add_argument("--queued", type=int, default=100_000, help="deliveries owed while memory is read")
    given = parser.parse_args()
    if len(CORES) > 1:
        os.sched_setaffinity(0, CORES - {min(CORES)})
    rows = uvloop.run(bench(given))
    show(console, rows)
    figures = {name: figure for row in rows for name, figure in row.figures.items()}
    Path("bench.json").write_bytes(orjson.dumps(figures, option=orjson.OPT_INDENT_2) + b"\n")


if __name__ == "__main__":
    main()
