"""`tasks watch`: stay with tasks until all of them have ended.

What is watched is settled at the start. The feed tells every change after that, and nothing between two looks is missed: its
place is asked for before the tasks are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from service.cli.client import HERE, Api, Key, Url
from service.cli.lists import Filter, named, pages
from service.cli.task_lines import named_task
from service.cli.terminal import FAILED, INTERRUPTED, OK, UNREACHABLE, USAGE, Json, Stop, note
from service.cli.watching import Screen, counted, screen
from service.cli.when import HOW, maybe_instant

ENDS = frozenset({"succeeded", "failed", "canceled", "expired"})
OPEN = ("queued", "submitting", "processing", "unconfirmed")
MOST = 10_000  # tasks at a time: all of them are kept in memory
HOLD_SECONDS = 20  # the longest a question is held open; every change is told at once
LOOK_SECONDS = 3  # on a terminal: progress is no event, so it is looked at
ASK_AGAIN_SECONDS = 2.0

Status = Annotated[
    str | None,
    typer.Option(
        help="queued, submitting, processing, succeeded, failed, canceled, expired or unconfirmed.", show_default=False
    ),
]
Metadata = Annotated[
    list[str] | None, typer.Option(metavar="KEY=VALUE", help="Only with this metadata; repeatable.", show_default=False)
]
CreatedAfter = Annotated[
    str | None,
    typer.Option(metavar="INSTANT", help=HOW, show_default=False),
]
CreatedBefore = Annotated[str | None, typer.Option(metavar="INSTANT", help="The same.", show_default=False)]
Within = Annotated[
    float | None, typer.Option(min=0, help="Give up after so many seconds, with exit 1.", show_default=False)
]


def watch(
    task: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TASK]…", help="Ids or references; without, the open ones of the filters."),
    ] = None,
    provider: Filter = None,
    account: Filter = None,
    metadata: Metadata = None,
    created_after: CreatedAfter = None,
    created_before: CreatedBefore = None,
    within: Within = None,
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """Stay with tasks until all of them have ended. Exit 0 only if all succeeded.

    With --json each change is the task in one line; the last line sums up.
    """
    filters = {
        "provider": provider,
        "account": account,
        "created_after": maybe_instant(created_after, "--created-after"),
        "created_before": maybe_instant(created_before, "--created-before"),
        **{f"metadata.{name}": value for name, value in named(metadata).items()},
    }
    if task and any(filters.values()):
        raise Stop("name tasks, or say which with the filters, not both", USAGE)
    with Api(url, key) as api:
        turn = Turn(api=api, until=None if within is None else time.monotonic() + within)
        turn.begin(task or [], filters)
        try:
            with screen(json, turn.tasks) as shown:
                turn.follow(shown)
        except KeyboardInterrupt:
            still = f"{counted(len(turn.open))} not ended, which goes on without you" if turn.open else "all have ended"
            raise Stop(f"{still}. Look again with: taskrelay tasks watch", INTERRUPTED) from None
        shown.sum_up()
    raise typer.Exit(OK if all(one["status"] == "succeeded" for one in turn.tasks.values()) else FAILED)


@dataclass(slots=True, kw_only=True)
class Turn:
    """One run. `tasks`: as last seen, in the order they are shown."""

    api: Api
    until: float | None
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    after: str = ""
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    @property
    def open(self) -> list[dict[str, Any]]:
        return [one for one in self.tasks.values() if one["status"] not in ENDS]

    def begin(self, names: list[str], filters: Mapping[str, Any]) -> None:
        """Take the place in the feed, then the tasks."""
        self.after = self.api.get("/v1/events", {"order": "desc", "limit": 1})["next"]
        if names:
            found = [named_task(self.api, name) for name in names]
        else:
            found = [
                one
                for status in OPEN
                for page in pages(self.api, "/v1/tasks", {**filters, "status": status})
                for one in page["data"]
            ]
        if len(found) > MOST:
            raise Stop(f"{len(found):,} tasks are more than can be watched at a time ({MOST:,}): narrow the filters")
        self.tasks = {one["id"]: one for one in sorted(found, key=lambda one: str(one["created_at"]))}

    def follow(self, shown: Screen) -> None:
        """Until all have ended. Raises `Stop` when the time is over."""
        for one in self.tasks.values():
            shown.tell(one)
        while self.open:
            left = None if self.until is None else self.until - self.clock()
            if left is not None and left <= 0:
                raise Stop(f"{len(self.open)} of {len(self.tasks)} tasks have not ended within the time given", FAILED)
            hold = LOOK_SECONDS if shown.live else HOLD_SECONDS
            try:
                self._look(shown, hold if left is None else min(hold, int(left) + 1))
            except Stop as stop:
                if stop.code != UNREACHABLE and (stop.facts or {}).get("status") != 503:
                    raise
                note(f"{stop.text.splitlines()[0]}; asking again in {ASK_AGAIN_SECONDS:g} s")
                self.pause(ASK_AGAIN_SECONDS)

    def _look(self, shown: Screen, seconds: int) -> None:
        query = {"type": "task.*", "after": self.after, "limit": 200, "wait": seconds}
        page = self.api.get("/v1/events", query)
        for event in page["data"]:
            self._seen(event["data"], shown)
        if shown.live and not page["data"]:
            progress = self.api.get("/v1/tasks", {"status": "processing", "limit": 200})
            for one in progress["data"]:
                self._seen(one, shown)
        self.after = page["next"]

    def _seen(self, task: dict[str, Any], shown: Screen) -> None:
        """News of a task, unless it is not watched, or older than what is known."""
        known = self.tasks.get(str(task.get("id")))
        if known is not None and task["sequence"] >= known["sequence"] and task != known:
            self.tasks[task["id"]] = task
            shown.tell(task)
