"""The ledger of a run, for people: a row for each promise, then what clients saw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.result import Result

WIDTH = 34


def page(result: Result) -> str:
    return "\n".join([*_load(result), "", *_promises(result), "", *_times(result), "", *_clients(result)])


def row(name: str, value: object, remark: str = "") -> str:
    return f"{name:<{WIDTH}}{value!s:>12}" + (f"   {remark}" if remark else "")


def _load(result: Result) -> list[str]:
    counts, found = result.counts, result.measured
    kinds = ("cloudsway", "acedata", "ulazai", "apiinone")
    ended = {kind: {n[len(kind) + 1 :]: v for n, v in counts.items() if n.startswith(f"{kind} ")} for kind in kinds}
    return [
        row("tasks acknowledged", counts["acked"], f"in {counts['tries']} tries"),
        row("kill -9", found.kills),
        row(
            "SIGSTOP past the lease",
            found.pauses,
            f"{found.lapses} of them until the next owner made the same attempts",
        ),
        row("stopped and started again", found.stops),
        row("PostgreSQL restarted", found.server_restarts, "once fast, once immediate"),
        row("started by the supervisor", found.restarted_by_supervisor, "without a database at its start"),
        *(
            row(f"  {kind}", sum(told.values()), ", ".join(f"{v} {n}" for n, v in told.items()))
            for kind, told in ended.items()
        ),
        row("pushes acknowledged", counts["pushes acked"]),
        row("held, then abandoned", counts["held"]),
    ]


def _promises(result: Result) -> list[str]:
    broken, counts, verdict = result.verdict.counts(), result.counts, result.verdict
    worst = max((count for _, count in verdict.per_fault), default=0)
    return [
        row("tasks lost", broken["tasks lost"]),
        row(
            "bought twice", broken["double submissions"], f"{counts['jobs']} jobs, {counts['resends']} bought once more"
        ),
        row("acknowledged pushes lost", broken["acked pushes lost"]),
        row("events lost", broken["events lost"], f"{counts['events']} events, {counts['attempts heard']} attempts"),
        row("second ends", broken["second ends"]),
        row("bad signatures, changed bodies", broken["bad signatures"] + broken["changed bodies"]),
        row("duplicates", verdict.duplicates, f"allowed {verdict.allowed}; at most {worst} of one fault, 72 allowed"),
        row("  that no fault explains", broken["needless duplicates"]),
        row(
            "written without the lane",
            broken["fences"],
            f"{counts['fenced writers seen']} pairs of writer and owner seen",
        ),
        row("feed: missed or twice", broken["feed"], f"{counts['read by the cursor']} read by one cursor"),
        row("audit: unexplained", broken["unexplained"], f"{counts['audited']} debts"),
        row("replay: differing", broken["replay"], f"{counts['histories replayed']} histories"),
        row("deadlocks", counts["deadlocks"], "all re-run" if counts["deadlocks"] else ""),
        row(
            "transactions idle over 1 s",
            broken["idle transactions"],
            f"{result.idling_excused} looks at replicas that could not help it",
        ),
        row("other broken promises", len(verdict.violations) - sum(broken[name] for name in SHOWN_ABOVE)),
    ]


SHOWN_ABOVE = (
    "tasks lost",
    "double submissions",
    "acked pushes lost",
    "events lost",
    "second ends",
    "bad signatures",
    "changed bodies",
    "needless duplicates",
    "fences",
    "feed",
    "unexplained",
    "replay",
    "idle transactions",
)


def _times(result: Result) -> list[str]:
    found = result.measured
    return [
        row("lanes taken over, of killed", _spread(found.take_over_killed), "median, longest; lease 12 s"),
        row("  of paused", _spread(found.take_over_paused)),
        row("  of stopped in order", _spread(found.take_over_stopped), "after its end"),
        row("  of killed, spans as delivered", _seconds(found.take_over_default), "lease 60 s"),
        row("stop in order", _spread(found.stop_seconds)),
        row("PostgreSQL restarted: served after", _spread(found.server_back)),
        row("cut off: not ready after", _seconds(found.cut_noticed), f"for {found.cut_seconds:g} s"),
        row("  its lanes taken after", _seconds(found.cut_taken_over)),
        row("  ready again after", _seconds(found.cut_back)),
        row("  works alone after", _seconds(found.cut_works_again)),
        row("quiet after", _seconds(result.converged_seconds)),
    ]


def _clients(result: Result) -> list[str]:
    found, counts = result.measured, result.counts
    return [
        row("requests answered", counts["requests"], f"{counts['moved']} by another replica than first asked"),
        row("5xx that clients saw", result.trouble.total()),
        *(row(f"  {count}", "", cause) for cause, count in result.trouble.most_common(12)),
        row(
            "5xx while only stopped in order",
            sum(found.rolling_trouble.values()),
            f"{found.rolling_requests} requests, {found.rolling_stops} stops",
        ),
    ]


def _spread(times: Sequence[float]) -> str:
    if not times:
        return "-"
    found = sorted(times)
    return f"{found[len(found) // 2]:.1f}, {found[-1]:.1f}"


def _seconds(one: float | None) -> str:
    return "-" if one is None else f"{one:.1f} s"
