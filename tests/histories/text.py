"""A history as a file that people can read: what was made, what was heard, where it led. Instants are seconds since it was made."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import orjson

from service.core import history, replay
from service.core.history import Heard
from service.core.observation import dump
from service.core.replay import Replayed
from service.core.step import Outcome, Step
from storage.history import Life
from storage.records import Event, ObservationRow, OnAmbiguous, Task, TaskStatus
from tests.histories.bench import KEY, START, Advanced
from tests.service.pipeline.parties import SECOND

INSTANTS = re.compile(r"at|.*_at|streak_since")
PORT = re.compile(r"127\.0\.0\.1:\d+")
DEFAULTS = {one.name: one.default for one in fields(Task)}
Text = dict[str, Any]


def written(name: str, shows: str, life: Life, advanced: Sequence[Advanced]) -> Text:
    """The file of a life as it was really lived and stored. `advanced`: all that the reducer was told of its task."""
    made = replay.made(life.task, [history.heard(row) for row in life.history])
    heard = [_heard_text(one) for one in advanced]
    stored = [_said(row) for row in life.history]
    assert [_said(_row(one, made)) for one in heard if "kept" not in one] == stored, (
        "kept is what changed something for good"
    )
    return {
        "name": name,
        "shows": shows,
        "task": _task_text(made),
        "heard": heard,
        **_outcome(made, life.task, life.events, life.notes),
    }


def replayed(text: Text, *, kept: bool = False) -> Text:
    """The same file with its outcome as the reducer of today makes it: of all that was heard, or of what a database keeps alone."""
    made = _task(_times(text["task"], _instant))
    told = [one for one in text["heard"] if "kept" not in one] if kept else text["heard"]
    heard = [history.heard(_row(one, made)) for one in told]
    life = replay.replay(made, heard)
    again = iter(_again(told, made, life))
    return {
        **text,
        "heard": [next(again) if one in told else one for one in text["heard"]],
        **_outcome(made, life.task, _events(life, heard), notes_of(life)),
    }


def _again(told: Sequence[Text], made: Task, life: Replayed) -> Iterator[Text]:
    """The messages, with what the reducer of today makes of each."""
    task = made
    for one, step in zip(told, life.steps, strict=True):
        said = {name: value for name, value in one.items() if name != "kept"} | {"became": _became(step)}
        yield said if history.changes_for_good(task, step) else said | {"kept": False}
        task = step.task


def lived(text: Text) -> Replayed:
    """A file's life, replayed."""
    made = _task(_times(text["task"], _instant))
    return replay.replay(made, [history.heard(_row(one, made)) for one in text["heard"]])


def notes_of(life: Replayed) -> list[tuple[int, str]]:
    return [(step.task.version, note.kind) for step in life.steps for note in step.notes]


def _outcome(made: Task, task: Task, events: Sequence[Event], notes: Sequence[tuple[int, str]]) -> Text:
    """Where a life led: the fields that differ from how it began, its events, its timeline."""
    began, ended = _plain(made), _plain(task)
    left = {name: value for name, value in ended.items() if value != began[name] and name not in replay.UNTOLD}
    told = [
        {"id": one.id, "type": str(one.type), "sequence": one.sequence, "hard": one.hard, "at": one.created_at}
        for one in events
    ]
    return {
        "ends": _times(left, _seconds),
        "events": _times(told, _seconds),
        "timeline": [f"{version} {kind}" for version, kind in notes if version],
    }


def _events(life: Replayed, heard: Sequence[Heard]) -> list[Event]:
    told = [
        Event(
            id=fact.id,
            project_id=fact.task.project_id,
            task_id=fact.task.id,
            provider=None,
            model=None,
            type=fact.type,
            sequence=fact.sequence,
            created_at=fact.at,
            body=b"",
            hard=fact.hard,
        )
        for fact in replay.told(life, heard, KEY)
    ]
    return sorted(told, key=lambda one: one.sequence)


def dumped(text: Text) -> str:
    return orjson.dumps(text, option=orjson.OPT_INDENT_2).decode() + "\n"


def _task_text(task: Task) -> Text:
    said = {name: value for name, value in _plain(task).items() if value != _bare(DEFAULTS[name])}
    return dict(_times(said, _seconds))


def _plain(task: Task) -> Text:
    return {one.name: _bare(getattr(task, one.name)) for one in fields(Task)}


def _bare(value: object) -> object:
    return orjson.loads(orjson.dumps(value, default=lambda _: None))


def _task(said: Text) -> Task:
    kinds: dict[str, Callable[[Any], object]] = {"status": TaskStatus, "on_ambiguous": OnAmbiguous}
    read: Text = {name: kinds[name](value) if name in kinds else value for name, value in said.items()}
    return Task(**read)


def _heard_text(one: Advanced) -> Text:
    """One message. `version`: of the task after it, or the one it would have made."""
    task, seen, step = one.task, one.seen, one.step
    context = history.context(task, seen, one.rules, step, taken=one.taken)
    said: Text = {
        "version": task.version + 1,
        "at": one.rules.now,
        "source": str(seen.source),
        "account": seen.account or task.account,
        "submission_id": seen.submission_id,
        "reading": orjson.loads(PORT.sub("127.0.0.1:1", dump(seen.reading))),
        "context": orjson.loads(context),
        "became": _became(step),
    }
    if not history.changes_for_good(task, step):
        said["kept"] = False
    return dict(_times(said, _seconds))


def _became(step: Step) -> str:
    """When to look next is not told: it hangs on settings, on chance, and on what was learned of others."""
    return "silent" if step.outcome in (Outcome.IGNORED, Outcome.SCHEDULED) else step.outcome.value


def _said(row: ObservationRow) -> tuple[object, ...]:
    """What a row says, however its text is written."""
    reading = orjson.loads(PORT.sub("127.0.0.1:1", row.content))
    return (
        row.version,
        row.seen_at,
        row.source,
        row.account,
        row.submission_id,
        reading,
        orjson.loads(row.context or "{}"),
    )


def _row(text: Text, made: Task) -> ObservationRow:
    said = _times(text, _instant)
    return ObservationRow(
        id=f"obs_{said['version']}",
        task_id=made.id,
        submission_id=said["submission_id"],
        account=said["account"],
        source=said["source"],
        claim=said["reading"]["claim"],
        content=orjson.dumps(said["reading"]).decode(),
        raw=None,
        digest=None,
        seen_at=said["at"],
        verified_at=said["at"],
        version=said["version"],
        context=orjson.dumps(said["context"]).decode(),
    )


def _times(value: Any, turned: Callable[[Any], Any]) -> Any:
    """Every instant in a document turned; everything else as it is."""
    if isinstance(value, Mapping):
        return {
            name: turned(one) if INSTANTS.fullmatch(name) and isinstance(one, int | float) else _times(one, turned)
            for name, one in value.items()
        }
    if isinstance(value, list | tuple):
        return [_times(one, turned) for one in value]
    return value


def _seconds(at: int) -> float:
    return round((at - START) / SECOND, 6)


def _instant(seconds: float) -> int:
    return START + round(seconds * SECOND)
