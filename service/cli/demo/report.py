"""What the demo says: who is there, one line a task, the story of the most telling one, the table, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from service.cli.demo.scenes import Played, taken
from service.cli.task_lines import instant

NAME, MODEL, WHO, CELL = 12, 27, 10, 11
ASKED = {"poll": "it asked: ", "look_up": "it looked: "}  # how an entry was learned, where that tells something


def opening() -> list[str]:
    return ["taskrelay demo: everything on this machine, no account, nothing is paid", ""]


def cast_lines(pids: Mapping[str, tuple[int, str]]) -> list[str]:
    """The processes. `pids`: by name, the process and its URL."""
    about = {
        "sandbox": "plays all five contracts",
        "taskrelay": "SQLite, synchronous=FULL, callbacks=verify",
        "subscriber": "checks signatures with the standardwebhooks package",
    }
    lines = [
        f"  ✓ {name:11}  pid {pid:<6} {url.removeprefix('http://'):16} {about[name]}"
        for name, (pid, url) in pids.items()
    ]
    return [*lines, ""]


def label(played: Played) -> str:
    scene = played.scene
    return f"{scene.number} {scene.title:{NAME}}{f'{scene.provider}/{scene.model}':{MODEL}}"


def story(played: Played) -> list[str]:
    """One task as everybody saw it, in order."""
    scene = played.scene
    told = sorted(
        [*_service_lines(played), *_provider_lines(played), *_subscriber_lines(played)], key=lambda row: row[0]
    )
    rows = [f"    {at - played.began:+8.3f} s  {who:{WHO}}  {what}" for at, who, what in told]
    return [f"  Task {scene.number}, {scene.about}", *rows, ""]


Row = tuple[float, str, str]


def _service_lines(played: Played) -> list[Row]:
    return [
        (instant(entry["at"]), "taskrelay", f"{ASKED.get(entry['source'], '')}{entry['message']}")
        for entry in played.timeline.get("data", [])
    ]


def _provider_lines(played: Played) -> list[Row]:
    name = played.scene.provider
    rows: list[Row] = []
    for job in played.jobs:
        rows.append((job["accepted_at"], name, f"accepted, job {job['id']}"))
        last: dict[str, Any] = job["pushes"][-1] if job["pushes"] else {}
        if job["finished_at"] is not None:
            dropped = "; its push is dropped" if last.get("dropped") else ""
            rows.append((job["finished_at"], name, f"finished{dropped}"))
        for attempt in last.get("attempts", ()):
            answer = attempt["status"] or attempt["error"]
            rows.append((attempt["ended_at"], name, f"pushed {last['status']}, taskrelay answered {answer}"))
    return rows


def _subscriber_lines(played: Played) -> list[Row]:
    return [
        (
            event["received_at"],
            "subscriber",
            f"{event['status']}, signature {'valid' if event['valid'] else 'NOT VALID'}, webhook-id {event['webhook_id']}",
        )
        for event in played.received
    ]


def table(played: Sequence[Played]) -> list[str]:
    """When who knew, and at what price."""
    rows: list[tuple[str, list[str], str]] = [
        ("provider finished", [_seconds(one.after(one.finished_at)) for one in played], "s"),
        ("taskrelay knew", [_seconds(one.after(one.known_at)) for one in played], "s"),
        ("subscriber had it", [_seconds(one.after(one.had_at)) for one in played], "s"),
        ("status queries", [str(one.queries) for one in played], ""),
        ("jobs bought", [str(len(one.jobs)) for one in played], ""),
        ("signature", ["valid" if one.signed else "NOT VALID" if one.received else "-" for one in played], ""),
    ]
    head = f"    {'':18}" + "".join(f"{one.scene.title:>{CELL}}" for one in played)
    lines = [
        f"    {name:18}{''.join(f'{cell:>{CELL}}' for cell in cells)} {unit}".rstrip() for name, cells, unit in rows
    ]
    return [head, *lines, ""]


def verdict(played: Sequence[Played], seconds: float) -> list[str]:
    """All is well."""
    ids = set().union(*(one.webhook_ids for one in played))
    bought = sum(len(one.jobs) for one in played)
    return [
        f"  PASS  {_count(len(played), 'task')}, {_count(bought, 'job')} bought, {_count(len(played), 'end')}, "
        f"{_count(len(ids), 'event')} delivered, 0 missing   ({seconds:.1f} s)",
        "",
        "  Next:  make dev            (taskrelay dev) the same, and it stays up for your own requests",
        "         make demo KILL=1    (taskrelay demo --kill) the same, with taskrelay killed -9 twenty times",
    ]


def failure(one: Played, fault: str, kept: str) -> list[str]:
    """What went wrong with one task, what is known, and how to look closer."""
    following = one.timeline.get("next") or {}
    state = f"it is {one.task['status']}; " + (_soon(following) if following else "nothing follows")
    return [
        f"  FAIL  task {one.scene.number} ({one.scene.title}): {fault}",
        f"        {state}",
        f"        timeline {kept}/task{one.scene.number}.json   log {kept}/taskrelay.log   "
        f"again: taskrelay demo --only {one.scene.name}",
    ]


def broken(why: str, kept: str) -> list[str]:
    """The demo itself could not go on."""
    first, *more = why.splitlines() or [""]
    return [f"  FAIL  {first}", *(f"        {line.strip()}" for line in more), f"        logs {kept}/"]


def facts(one: Played) -> dict[str, Any]:
    """A scene for a program; instants in seconds from its creation."""
    return {
        "scene": one.scene.name,
        "task": one.task["id"],
        "model": f"{one.scene.provider}/{one.scene.model}",
        "status": one.task["status"],
        "provider_finished": _exact(one.after(one.finished_at)),
        "known": _exact(one.after(one.known_at)),
        "delivered": _exact(one.after(one.had_at)),
        "queries": one.queries,
        "pushes_taken": sum(
            taken(attempt) for job in one.jobs for push in job["pushes"] for attempt in push["attempts"]
        ),
        "bought": len(one.jobs),
        "signature": "valid" if one.signed else "invalid" if one.received else None,
        "webhook_ids": sorted(one.webhook_ids),
        "faults": one.faults(),
    }


def most_telling(played: Sequence[Played]) -> Played:
    """The scene whose story is told: the last, the one without a push."""
    return max(played, key=lambda one: one.scene.number)


def _soon(following: Mapping[str, Any]) -> str:
    at = datetime.fromtimestamp(instant(following["at"]), UTC).astimezone()
    return f"next: {following['action']} at {at:%H:%M:%S}. {following['reason']}"


def _seconds(span: float | None) -> str:
    return "-" if span is None else f"{span:.2f}"


def _exact(span: float | None) -> float | None:
    return None if span is None else round(span, 3)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
