"""What a bench says: against which settings, each figure with what it counts, and what it does not say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Rates are a second. `took_ms`: ascending."""

    engine: str
    shown: str
    cores: int
    tasks: int
    backlog: int
    commits_alone: float
    commits_together: float
    created: float
    callbacks: float
    deliveries: float
    took_ms: Sequence[float]


def quantile(ascending: Sequence[float], part: float) -> float:
    """The value that so large a part does not exceed."""
    return ascending[min(int(len(ascending) * part), len(ascending) - 1)]


def opening(engine: str, shown: str) -> Iterator[str]:
    synced = "synchronous=FULL" if engine == "sqlite" else "synchronous_commit=on"
    name = "SQLite" if engine == "sqlite" else "PostgreSQL"
    yield "taskrelay bench: how fast it is here. A database of its own, nothing is paid, nothing stays"
    yield ""
    yield f"  {name}, {synced}, {shown}"


def lines(one: Figures) -> Iterator[str]:
    p50, p99 = quantile(one.took_ms, 0.5), quantile(one.took_ms, 0.99)
    yield f"  {one.cores} cores for taskrelay, sandbox, subscriber and this; callbacks=verify, max_in_flight=8"
    yield ""
    yield f"  durable commits, one after another    {one.commits_alone:>9,.0f} /s"
    yield f"  durable units, 64 at a time           {one.commits_together:>9,.0f} /s"
    yield f"  tasks created and stored              {one.created:>9,.0f} /s   {one.tasks:,} tasks, 32 connections"
    yield f"  callbacks in, stored and answered     {one.callbacks:>9,.0f} /s   {one.backlog:,}, 32 connections"
    yield f"  deliveries out, signed and taken      {one.deliveries:>9,.0f} /s   a backlog of {one.backlog:,}, one endpoint"
    yield f"  callback → subscriber has the event   p50 {p50:.1f} ms, p99 {p99:.1f} ms   {len(one.took_ms)}, one at a time"
    yield ""
    yield "  What sends, plays and receives takes its part of the same cores: alone, taskrelay does more."


def document(one: Figures) -> dict[str, object]:
    """The same for a program."""
    return {
        "object": "bench",
        "database": {"engine": one.engine, "where": one.shown},
        "cores": one.cores,
        "settings": {"callbacks": "verify", "max_in_flight": 8, "tasks": one.tasks, "connections": 32},
        "figures": {
            "commits_per_second": round(one.commits_alone),
            "units_per_second": round(one.commits_together),
            "tasks_created_per_second": round(one.created),
            "callbacks_per_second": round(one.callbacks),
            "deliveries_per_second": round(one.deliveries),
            "callback_to_subscriber_p50_ms": round(quantile(one.took_ms, 0.5), 2),
            "callback_to_subscriber_p99_ms": round(quantile(one.took_ms, 0.99), 2),
        },
    }
