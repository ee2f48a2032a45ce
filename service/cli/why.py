"""`tasks why`: what happened to a task, what happens next, when and why, who was told, and what a person can do."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from service.cli.client import HERE, Api, Key, Url
from service.cli.task_lines import instant, named_task, next_line
from service.cli.terminal import Json, say, show

FIRST, LAST = 4, 10  # lines of a long timeline

MONEY: Mapping[str, str] = {
    "none": "Nothing is charged.",
    "estimated": "It was bought; what it costs was not stated yet.",
    "confirmed": "Charged, as the provider states.",
    "possible": "It may have been charged: nobody knows.",
    "refunded": "The charge was given back.",
}

Command = tuple[str, str]  # what to type, what it does


def why(
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="Its id, task_…, or your own reference.", show_default=False)
    ],
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """Say why a task stands where it stands, and what you can do."""
    with Api(url, key) as api:
        found = named_task(api, task)
        told = api.get(f"/v1/tasks/{found['id']}/timeline")
        owed = api.get("/v1/deliveries", {"task": found["id"], "limit": 200})["data"]
    owed.reverse()  # as it was told
    commands = list(possible(found, owed))
    if json:
        facts = {"task": found, "timeline": told["data"], "next": told["next"], "deliveries": owed}
        show({"object": "why", **facts, "you_can": [{"command": one, "does": does} for one, does in commands]})
    else:
        say("\n".join(lines(found, told, owed, commands, now=time.time())))


def lines(
    task: Mapping[str, Any],
    told: Mapping[str, Any],
    owed: Sequence[Mapping[str, Any]],
    commands: Sequence[Command],
    *,
    now: float,
) -> Iterator[str]:
    """All of it, for a person."""
    yield "  ".join(str(part) for part in (task["id"], task["status"], task.get("reference")) if part)
    yield f"  {task['provider']}/{task['model']}, account {task['account']}, made {task['created_at']}"
    yield from _error(task)
    yield "What happened"
    yield from _happened(task["id"], told["data"])
    yield "Money"
    yield f"  {money(task)}"
    yield "What happens next"
    yield f"  {_next(told['next'], task, now)}"
    yield "Who is told"
    yield from _told(owed, ended=bool(task["finished_at"]))
    if commands:
        yield "What you can do"
        yield from (f"  {command}\n      {does}" for command, does in commands)


def _error(task: Mapping[str, Any]) -> Iterator[str]:
    if error := task.get("error"):
        yield f"  because {error['code']}: {error['message']}"
        if error["provider_message"]:
            yield f"  {task['provider']} said: {error['provider_message']}"
    if task["finished_at"] and not task["final"]:
        yield "  This end is not final: a late verdict may still change it."


def _happened(task_id: str, entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    began = instant(entries[0]["at"]) if entries else 0.0
    told = [f"  {instant(one['at']) - began:+10.3f} s  {one['source']:9} {one['message']}" for one in entries]
    if len(told) <= FIRST + LAST + 1:
        yield from told
        return
    yield from told[:FIRST]
    yield f"  … {len(told) - FIRST - LAST} more: taskrelay tasks timeline {task_id}"
    yield from told[-LAST:]


def money(task: Mapping[str, Any]) -> str:
    """What it costs, and how sure that is."""
    cost = task["cost"]
    said = MONEY.get(task["charge"], str(task["charge"]))
    worth = cost["money"] or {}
    for kind, word in (("charged", "charged"), ("estimated", "expected")):
        if cost[kind] is not None:
            price = f" ({worth[kind]} {worth['currency']})" if worth.get(kind) is not None else ""
            said += f" {cost[kind]} {cost['unit']}{price} {word}."
            break
    for one in cost["surplus"]:
        said += f" Bought too many, charged as well: {one['provider_task_id']}."
    return said


def _next(following: Mapping[str, Any] | None, task: Mapping[str, Any], now: float) -> str:
    if following is None:
        return f"Nothing: it is {task['status']} for good."
    if not following["at"]:
        return str(next_line(following))
    soon = _soon(instant(following["at"]) - now)
    return f"{following['action']} at {following['at']} ({soon}): {following['reason']}"


def _soon(seconds: float) -> str:
    if seconds < 1:
        return "now"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"in {seconds / size:.0f} {unit}"
    return f"in {seconds:.0f} s"


def _told(owed: Sequence[Mapping[str, Any]], *, ended: bool) -> Iterator[str]:
    if not owed and ended:
        yield "  Nobody was subscribed to what happened. GET /v1/events has it all."
    elif not owed:
        yield "  Nobody so far. Who subscribed and named no events is told of the end; GET /v1/events has it all."
    for one in owed:
        yield f"  {one['event_type']:16}  {one['status']:11} {one['origin'] or one['endpoint']}"
        following = one["next"]
        at = f"{following['action']} at {following['at']}: " if following["at"] else ""
        yield f"      {at}{following['reason']}"


def possible(task: Mapping[str, Any], owed: Sequence[Mapping[str, Any]]) -> Iterator[Command]:
    """What a person can do just now, as commands."""
    id, links, error = task["id"], task["links"], task.get("error") or {}
    if links["cancel"]:
        yield f"taskrelay tasks cancel {id}", "take it back: nothing is bought yet"
    if links["resolve"]:
        resolve = f"taskrelay tasks resolve {id} --action"
        yield f"{resolve} adopt --provider-task-id JOB", f"you found its job at {task['provider']}"
        if task["status"] == "unconfirmed":
            yield (
                f"{resolve} resubmit --possible-double-charge",
                "send it once more; both may be charged, also past the budget",
            )
            yield f"{resolve} abandon", "give it up; it may still turn up, and be charged"
    if error.get("retryable"):
        yield "taskrelay submit …", "create it again: that may work, and will be charged again"
    resumed = {one["endpoint"] for one in owed if one["links"]["resume"] and one["status"] != "delivered"}
    for endpoint in sorted(resumed):
        yield f"taskrelay endpoints resume {endpoint}", "it is sent nothing until then"
    for one in owed:
        if one["links"]["retry"]:
            yield f"taskrelay deliveries retry {one['id']}", f"send {one['event_type']} again, now"
