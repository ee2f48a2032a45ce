"""A task by what people call it, and in lines for a person."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from service.cli.client import Api
from service.cli.terminal import FAILED, Stop

ID = re.compile(r"task_[0-9A-Z]{26}")


def named_task(api: Api, name: str) -> Any:
    """The task by its id, or the newest with this reference."""
    return api.get(f"/v1/tasks/{id_of(api, name)}")


def id_of(api: Api, name: str) -> str:
    """A task's id as it was given, or that of the newest with this reference."""
    if ID.fullmatch(name):
        return name
    page = api.get("/v1/tasks", {"reference": name, "limit": 1})
    if not page["data"]:
        raise Stop(f"no task of this project has the id or the reference {name!r}", FAILED)
    return str(page["data"][0]["id"])


def state(task: Mapping[str, Any]) -> str:
    """`processing, queued_at_provider, 40 %`."""
    progress = f"{task['progress']} %" if task.get("progress") is not None else None
    return ", ".join(str(part) for part in (task["status"], task.get("phase"), progress) if part)


def task_lines(task: Mapping[str, Any]) -> list[str]:
    """A task for a person: what is known, leaving out what is not."""
    cost = task.get("cost") or {}
    error = task.get("error") or {}
    following = task.get("next") or {}
    facts = {
        "model": f"{task['provider']}/{task['model']}   account {task['account']}",
        "phase": task.get("phase"),
        "progress": None if task.get("progress") is None else f"{task['progress']} %",
        "output": task.get("output_url"),
        "error": f"{error['code']}  {error['message']}" if error else None,
        "retry": "creating it again may work, and will be charged again" if error.get("retryable") else None,
        "reference": task.get("reference"),
        "charge": " ".join(str(part) for part in (task.get("charge"), *_amount(cost)) if part),
        "surplus": _surplus(cost.get("surplus") or ()),
        "created": task.get("created_at"),
        "finished": task.get("finished_at"),
        "final": "no: a late verdict may still change this end"
        if task.get("finished_at") and not task["final"]
        else None,
        "next": next_line(following),
    }
    return [f"{task['id']}  {task['status']}", *(f"  {name:9}  {fact}" for name, fact in facts.items() if fact)]


def timeline_lines(told: Mapping[str, Any]) -> list[str]:
    """What happened, each at its distance from the beginning, and what comes next."""
    entries = told.get("data") or []
    began = instant(entries[0]["at"]) if entries else 0.0
    lines = [f"{told['task']}  {told['status']}"]
    if entries:
        lines.append(f"  {entries[0]['at']}")
    for entry in entries:
        lines.append(f"  {instant(entry['at']) - began:+10.3f} s  {entry['source']:9} {entry['message']}")
    if following := next_line(told.get("next") or {}):
        lines.append(f"  next: {following}")
    return lines


def instant(text: str) -> float:
    """An ISO time as seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()


def next_line(following: Mapping[str, Any]) -> str | None:
    """`poll at 2026-…Z: its push is overdue`."""
    if not following:
        return None
    at = f" at {following['at']}" if following.get("at") else ""
    reason = f": {following['reason']}" if following.get("reason") else ""
    return f"{following.get('action')}{at}{reason}"


def _surplus(jobs: Sequence[Mapping[str, Any]]) -> str | None:
    """Jobs bought beside the task's own."""
    told = [" ".join(str(part) for part in (one["provider_task_id"], *_amount(one)) if part) for one in jobs]
    return f"bought too many, charged as well: {', '.join(told)}" if told else None


def _amount(cost: Mapping[str, Any]) -> tuple[object, ...]:
    return (cost.get("charged") or cost.get("estimated"), cost.get("unit"))
