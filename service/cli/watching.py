"""How watched tasks are shown: a table that lives on a terminal, otherwise a line for every change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from service.cli.task_lines import instant, state
from service.cli.telling import line
from service.cli.terminal import columns, console, say
from service.telemetry.redact import visible

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.table import Table

Tasks = Mapping[str, dict[str, Any]]

COLOURS = {"succeeded": "green", "failed": "red", "expired": "red", "canceled": "yellow", "unconfirmed": "yellow"}
ID_WIDTH = 31
NARROW, WIDE = 80, 110  # columns from which a reference, and a model, are shown
EDGES = 3  # lines of a terminal that the table leaves: its head, what is left out, the prompt


class Screen(Protocol):
    """Where changes are told. `live`: a person looks on, so that progress is worth a question."""

    live: bool

    def tell(self, task: Mapping[str, Any]) -> None: ...
    def sum_up(self) -> None: ...


@contextmanager
def screen(json: bool, tasks: Tasks) -> Iterator[Screen]:
    """What suits whoever reads it."""
    there = console(stderr=True)
    if json:
        yield Documents(tasks)
    elif not there.is_terminal:
        yield Lines(tasks)
    else:
        from rich.live import Live

        alive = Alive(tasks, there)
        with Live(console=there, transient=True, refresh_per_second=4, get_renderable=alive.picture):
            yield alive


class Documents:
    """Each change as the task in one line, and a sum at the end."""

    live = False

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks

    def tell(self, task: Mapping[str, Any]) -> None:
        line(task)

    def sum_up(self) -> None:
        line({"ended": "watch", "tasks": len(self._tasks), "statuses": dict(_counts(self._tasks))})


class Lines:
    """Each change of what is told of a task."""

    live = False

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._told: dict[str, str] = {}

    def tell(self, task: Mapping[str, Any]) -> None:
        if self._told.get(task["id"]) != (now := state(task)):
            self._told[task["id"]] = now
            say(f"{datetime.now(UTC):%H:%M:%S}  {task['id']}  {now}  {task.get('reference') or ''}".rstrip())

    def sum_up(self) -> None:
        say(_sum(self._tasks))


class Alive:
    """A table, the open ones first; what it came to stays when it goes."""

    live = True

    def __init__(self, tasks: Tasks, there: Console) -> None:
        self._tasks, self._there = tasks, there

    def tell(self, task: Mapping[str, Any]) -> None:
        """The table is drawn again and again from what is known."""

    def picture(self) -> Group:
        from rich.console import Group
        from rich.text import Text

        rows = sorted(self._tasks.values(), key=lambda one: (bool(one["finished_at"]), str(one["created_at"])))
        fit = max(self._there.size.height - EDGES - 1, 1)
        rest = f"… and {len(rows) - fit} more" if len(rows) > fit else ""
        table = _table(rows[:fit], self._there.size.width)
        return Group(table, Text(f"{rest}  {_sum(self._tasks)}".strip(), style="dim"))

    def sum_up(self) -> None:
        columns([(one["id"], state(one), one.get("reference"), _took(one)) for one in self._tasks.values()])
        say(_sum(self._tasks))


def _table(rows: list[dict[str, Any]], width: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    # An id is there to be copied whole; on a narrow terminal the others give way.
    heads = [
        "TASK",
        "STATUS",
        *(["MODEL"] if width >= WIDE else []),
        *(["REFERENCE"] if width >= NARROW else []),
        "FOR",
    ]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in heads:
        table.add_column(name, no_wrap=True, min_width=ID_WIDTH if name == "TASK" else None)
    for one in rows:
        cells = {
            "TASK": one["id"],
            "STATUS": Text(visible(state(one)), style=COLOURS.get(one["status"], "")),
            "MODEL": Text(visible(f"{one['provider']}/{one['model']}")),
            "REFERENCE": Text(visible(str(one.get("reference") or "-"))),
            "FOR": _took(one),
        }
        table.add_row(*(cells[name] for name in heads))
    return table


def _took(task: Mapping[str, Any]) -> str:
    until = instant(task["finished_at"]) if task.get("finished_at") else datetime.now(UTC).timestamp()
    return f"{max(until - instant(task['created_at']), 0):.0f} s"


def _counts(tasks: Tasks) -> Counter[str]:
    return Counter(str(one["status"]) for one in tasks.values())


def _sum(tasks: Tasks) -> str:
    """`3 tasks: 2 succeeded, 1 failed`."""
    if not tasks:
        return "no task is open"
    parts = ", ".join(f"{count} {status}" for status, count in sorted(_counts(tasks).items()))
    return f"{counted(len(tasks))}: {parts}"


def counted(number: int) -> str:
    return f"{number:,} task" if number == 1 else f"{number:,} tasks"
