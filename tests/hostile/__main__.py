"""`make hostile`: every hostile case under strace, the audit of what is called, and what dead names cost. A minute."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.faults.traced import require_strace
from tests.hostile.egress import audit
from tests.hostile.holes import HOLES, Latency, measure
from tests.hostile.run import MB, READ_MOST, Row, every_case, scene
from tests.hostile.table import TOGETHER
from tests.hostile.traced import CALLS, READS, called, outside, read_by_port, tracing

# A provider's call while fifty names hang. One that stands behind them waits for seconds, each time: nine of ten must not.
SLOWER_MOST_MS = 1500.0


async def cases(folder: Path, console: Console) -> int:
    """The table; returns how many rows are not as they should be."""
    log, rows = folder / "trace", list[Row]()
    async with scene(folder, run=tracing(log, f"{CALLS},{READS}")) as (stack, hostile):
        async for row in every_case(stack, hostile):
            rows.append(row)
        ports = {row.case: {visit.line.client for visit in row.visits} for row in rows}
    with log.open(errors="replace") as lines:
        read = read_by_port(lines)
    with log.open(errors="replace") as lines:
        seen = called(lines)
    shown = Table("case", "delivery", "code", "class", "s", "next in s", "KiB read", "calls", "MB", "fault")
    faults = 0
    for row in rows:
        bytes_read = sum(read[port] for port in ports[row.case])
        told = [*row.faults, *([f"{bytes_read} bytes were read"] if bytes_read > READ_MOST else [])]
        faults += bool(told)
        shown.add_row(*_cells(row, bytes_read), "; ".join(told))
    console.print(shown)
    stray = outside([address for address, _ in seen], ["127.0.0.0/8"])
    console.print(
        f"{len(rows)} cases, {faults} not as they must be. Calls seen by strace: {seen.total()}, to forbidden addresses: {stray or 0}"
    )
    console.print(
        f"MB: memory at its highest above what it was before; of the {len(TOGETHER)} slow cases, run together, in all"
    )
    return faults + len(stray)


def _cells(row: Row, bytes_read: int) -> list[str]:
    ends = row.ends
    return [
        row.case,
        ends.status,
        str(ends.code or "-"),
        ends.error or "-",
        f"{ends.seconds[0]:.2f}",
        f"{ends.wait[0]:.0f}" if ends.wait is not None else "-",
        f"{bytes_read / 1024:.1f}",
        str(row.connections),
        f"{row.memory / MB:.2f}",
    ]


def egress(folder: Path, console: Console) -> int:
    """The audit, and that it can fail."""
    told = audit(folder)
    console.print(
        f"egress: {told.pairs} URLs and answers: {told.outcomes}; {told.calls} calls to {told.addresses} addresses "
        f"({told.inside} in allowed networks), to forbidden ones: {told.outside or 0}"
    )
    broken = audit(folder, pairs=300, unguarded=True)
    console.print(f"egress with a guard that allows everything: {len(broken.outside)} forbidden addresses called")
    return len(told.outside) + (not broken.outside)


async def holes(folder: Path, console: Console) -> int:
    without, beside = await measure(folder)
    console.print(f"{HOLES} names that are never answered; milliseconds without them → with them:")
    console.print(f"  order → provider   {_quantiles(without.bought)} → {_quantiles(beside.bought)}")
    console.print(f"  → other subscriber {_quantiles(without.heard)} → {_quantiles(beside.heard)}")
    return int(_most(beside) - _most(without) > SLOWER_MOST_MS)


def _quantiles(ordered: object) -> str:
    assert isinstance(ordered, list)
    return f"p50 {ordered[len(ordered) // 2]:.1f}, p99 {ordered[-1 - len(ordered) // 100]:.1f}"


def _most(latency: Latency) -> float:
    """What nine of ten stay below. The last ones tell of the machine: of sixty, p99 is the slowest."""
    return latency.bought[-1 - len(latency.bought) // 10]


def main() -> None:
    console, faults = Console(width=None if sys.stdout.isatty() else 160), 0
    try:
        require_strace()
    except AssertionError as error:
        console.print(str(error))
        raise SystemExit(2) from None
    for part in ("cases", "egress", "holes"):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if part == "egress":
                faults += egress(folder, console)
            else:
                faults += asyncio.run((cases if part == "cases" else holes)(folder, console))
    raise SystemExit(1 if faults else 0)


if __name__ == "__main__":
    main()
