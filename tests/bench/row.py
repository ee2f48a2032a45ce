"""A line of the table that `make bench` prints, and the table."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing that was measured. `figures`: what `bench.json` keeps of it, by name."""

    title: str
    measured: str
    ceiling: str = ""
    ratio: float | None = None
    goal: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)


def show(console: Console, rows: Sequence[Row]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("", "measured", "ceiling", "ratio", "goal"):
        table.add_column(heading, justify="left" if not heading else "right")
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        table.add_row(row.title, row.measured, row.ceiling, ratio, row.goal)
    console.print(table)


def against(title: str, name: str, ours: Sequence[float], ceiling: Sequence[float], *, goal: str = "") -> Row:
    """A row of rates beside their ceiling: each round takes its own ratio, and the median round is told."""
    ratio = statistics.median(one / top for one, top in zip(ours, ceiling, strict=True))
    rate, top = statistics.median(ours), statistics.median(ceiling)
    return Row(
        title=title,
        measured=f"{rate:,.0f}/s",
        ceiling=f"{top:,.0f}/s",
        ratio=ratio,
        goal=goal,
        figures={f"{name}_ratio": round(ratio, 3), f"{name}_per_s": round(rate)},
    )


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]
