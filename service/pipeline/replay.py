"""Replays every task of a database and says where its row, its events or its timeline differ from what its history gives.

An oracle: whatever happened to the process, what is stored must agree with itself. Works beside a serving process, page by
page, each on a snapshot of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import orjson

from service.core import events, history, replay
from service.core.replay import Replayed, Told
from storage import history as stored
from storage import projects
from storage.database import Database
from storage.history import Life
from storage.records import Event, light

PAGE = 100  # a page of ordinary tasks is a few megabytes
# In an event's body: addresses of ours, which settings may have changed since.
ADDRESSES = ("links", "output_url")


@light(frozen=True, slots=True, kw_only=True)
class Difference:
    """One fact of a task that is stored otherwise than its history tells it."""

    task_id: str
    field: str
    stored: object
    replayed: object

    def __str__(self) -> str:
        return f"{self.task_id}  {self.field}: stored {self.stored!r}, replayed {self.replayed!r}"


@light(frozen=True, slots=True, kw_only=True)
class Checked:
    """What one page brought."""

    tasks: int
    observations: int
    differences: Sequence[Difference]


async def check(database: Database, *, key: bytes | None = None, page: int = PAGE) -> AsyncIterator[Checked]:
    """Replay all tasks, in the order of their ids, a page at a time. `key`: of event ids, by default the installation's."""
    key = key or (await database.read(projects.installation)).encode()
    after = ""
    while lives := await database.read(lambda tx, after=after: stored.page(tx, after=after, batch=page)):  # type: ignore[misc]
        yield Checked(
            tasks=len(lives),
            observations=sum(len(life.history) for life in lives),
            differences=[found for life in lives for found in differences(life, key)],
        )
        after = lives[-1].task.id


def differences(life: Life, key: bytes) -> Iterator[Difference]:
    """Every difference between what is stored of a task and what its history gives. `key`: of event ids."""
    if life.task.erased_at is not None:
        return  # its history was erased with what it was about
    heard = [history.heard(row) for row in life.history]
    again = replay.replay(replay.made(life.task, heard), heard)
    told = replay.told(again, heard, key)
    for field, is_stored, replayed in (
        *replay.differences(life.task, again),
        *_between_events(life.events, told),
        *_between_timelines(life.notes, again),
    ):
        yield Difference(task_id=life.task.id, field=field, stored=is_stored, replayed=replayed)


def _between_events(kept: Sequence[Event], told: Sequence[Told]) -> Iterator[tuple[str, object, object]]:
    for event, fact in zip_longest(kept, sorted(told, key=lambda fact: fact.sequence)):
        if event is None or fact is None:
            yield "events", _named(event), _named(fact)
            continue
        for field in ("id", "type", "sequence", "hard"):
            if (was := getattr(event, field)) != (now := getattr(fact, field)):
                yield f"event {event.sequence} {field}", was, now
        if event.created_at != fact.at:
            yield f"event {event.sequence} timestamp", event.created_at, fact.at
        for field, was, now in _between_bodies(event, fact):
            yield f"event {event.sequence} {field}", was, now


def _between_bodies(event: Event, fact: Told) -> Iterator[tuple[str, object, object]]:
    """What was signed and sent shows the task as it is replayed."""
    was: dict[str, Any] = orjson.loads(event.body)["data"]
    view = events.task_view(fact.task, public_url="", output_url=None)
    now: dict[str, Any] = orjson.loads(orjson.dumps(view))
    cut = ("input", "metadata", "truncated") if was.get("truncated") else ()
    for field in sorted(was.keys() | now.keys()):
        if field not in (*ADDRESSES, *cut) and was.get(field) != now.get(field):
            yield f"data.{field}", was.get(field), now.get(field)


def _between_timelines(notes: Sequence[tuple[int, str]], again: Replayed) -> Iterator[tuple[str, object, object]]:
    kept = Counter(note for note in notes if note[0] > 0)  # before the first version stands its making
    told = Counter((step.task.version, note.kind) for step in again.steps for note in step.notes)
    for version, kind in sorted((kept - told).keys()):
        yield f"timeline {version}", kind, None
    for version, kind in sorted((told - kept).keys()):
        yield f"timeline {version}", None, kind


def _named(one: Event | Told | None) -> Mapping[str, object] | None:
    return None if one is None else {"id": one.id, "type": str(one.type), "sequence": one.sequence}
