"""/openai/v1/videos: create, read, hold until the end, list, delete, and where the output is. A translation: tasks are tasks."""

from __future__ import annotations

import asyncio
import hashlib
import re
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

from starlette.responses import Response

from service.api.call import ID, Call, absent, reply
from service.api.erasing import erased
from service.api.problems import Problem
from service.api.query import Query
from service.api.uploads import passed_on
from service.compat.openai import views
from service.compat.openai.receiving import receive
from service.compat.openai.translate import Order, named, order_of
from service.compat.openai.typed import typed
from service.core.events import task_view
from service.core.images import NotAnImage, examine
from service.core.request import Fault, Invalid, TaskRequest, shown
from service.pipeline import create as creating
from service.pipeline.accounts import AccountDesk
from service.pipeline.create import Created, CreateDesk
from service.providers.base import Uploader
from storage import openai_pages, tasks
from storage.database import Connection
from storage.records import Task, TaskStatus

LIMIT_DEFAULT, LIMIT_MOST = 20, 100
HOLD_SECONDS: Final = 20.0  # long enough for three questions a minute, short enough for every proxy on the way
# How soon to ask again. The SDK reads it off the first answer alone and keeps to it: short where answers are held back, long
# where too many are waiting for that.
PAUSE_MS, CROWDED_PAUSE_MS = 500, 5000
VARIANTS: Final = ("video", "thumbnail", "spritesheet")

_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?", re.ASCII)


async def create(call: Call) -> Response:
    """POST /openai/v1/videos"""
    Query(call.request, ()).settle()
    with ExitStack() as places:
        sent = await receive(call, places)
        desk = call.creating()
        accounts = {**desk.disabled, **{name: one.account.provider for name, one in desk.accounts.items()}}
        members = sent.members
        if sent.form:
            members = typed(members, named(members, desk.providers, accounts)[1])
        digest = hashlib.sha256(sent.file).hexdigest() if sent.file is not None else None
        await call.stated([members, digest])
        order = order_of(members, sent.file, providers=desk.providers, accounts=accounts)
        request = _judged(order, desk)
        try:
            if order.image is not None:
                request = await _with_image(call, order.image, request, desk)
            return await _created(call, request, desk)
        except Invalid as invalid:
            raise Invalid(order.and_of_body(invalid.faults)) from None


def _judged(order: Order, desk: CreateDesk) -> TaskRequest:
    """The request, before an image goes anywhere. Raises `Invalid` with every fault, of the translation and of the contract."""
    try:
        request = creating.read(order.body, desk)
        creating.judge(request, desk)
    except Invalid as invalid:
        raise Invalid(order.and_of_body(invalid.faults)) from None
    if order.faults:
        raise Invalid(order.faults)
    return request


async def _created(call: Call, request: TaskRequest, desk: CreateDesk) -> Response:
    answers: list[Response] = []

    async def also(tx: Connection, made: Created) -> None:
        if call.once is not None:
            answers[:] = [_told(call, made.task)]
            await call.keep(tx, answers[0], task=made.task)

    made = await creating.create(request, call.project_id, desk, also=also)
    return answers[0] if answers else _told(call, made.task)


async def _with_image(call: Call, content: bytes, request: TaskRequest, desk: CreateDesk) -> TaskRequest:
    """The request with the URL that its image got at a provider that stores images: its own if that does, else any."""
    try:
        examine(content)
        made = await passed_on(content, _keeper(request, desk), call.context)
    except NotAnImage as error:
        raise Invalid([Fault(pointer="/input/image", detail=str(error))]) from None
    return replace(request, input={**request.input, "image": made.url})


def _keeper(request: TaskRequest, desk: CreateDesk) -> AccountDesk:
    able = [one for one in desk.accounts.values() if isinstance(one.provider, Uploader)]
    if not able:
        who = " or ".join(name for name, contract in desk.providers.items() if isinstance(contract, Uploader))
        detail = f"No account here stores images; whoever runs taskrelay configures one of {who}. Or send the image's public URL."
        raise Invalid([Fault(pointer="/input/image", detail=detail)])
    own = [one for one in able if request.account == one.account.name or request.provider == one.provider.name]
    return (own or able)[0]


async def one(call: Call) -> Response:
    """GET /openai/v1/videos/{id}. What the SDK's poll helper asks is held until the end, for a while."""
    Query(call.request, ()).settle()
    task_id, seconds, loop = call.id("task"), held_seconds(call), asyncio.get_running_loop()
    end = loop.time() + seconds
    task = await call.context.watch.until(
        task_id, lambda: read(call, task_id), lambda seen: seen.finished_at is not None, seconds=seconds
    )
    return _told(call, task, PAUSE_MS if loop.time() >= end else CROWDED_PAUSE_MS)


def held_seconds(call: Call) -> float:
    """For how long an answer may be held back: not at all unless the poll helper asks, and never until the client gives up."""
    headers = call.request.headers
    if headers.get("x-stainless-poll-helper", "").lower() != "true":
        return 0.0
    stated = headers.get("x-stainless-read-timeout") or headers.get("x-stainless-timeout") or ""
    patience = float(stated) if _SECONDS.fullmatch(stated) else 60.0
    return min(HOLD_SECONDS, patience / 2, call.context.limits.wait_seconds)


async def page(call: Call) -> Response:
    """GET /openai/v1/videos: by `last_id`, in either order."""
    query = Query(call.request, ("limit", "after", "order"))
    limit, after = query.whole("limit", 1, LIMIT_MOST, LIMIT_DEFAULT), last_id(query, "task")
    oldest_first = query.choice("order", ("asc", "desc")) == "asc"
    query.settle()
    found = await call.context.database.read(
        lambda tx: openai_pages.tasks_page(tx, call.project_id, after=after, limit=limit + 1, oldest_first=oldest_first)
    )
    return reply(views.page([_view(call, task) for task in found[:limit]], has_more=len(found) > limit))


def last_id(query: Query, prefix: str) -> str | None:
    """The id that a page goes on behind."""
    after = query.text("after")
    if after is not None and not (ID.fullmatch(after) and after.startswith(f"{prefix}_")):
        detail = f"This is no id of this list: {shown(after)}. Send `last_id` of the page before, or leave it out."
        query.faults.append(Fault(pointer="/after", detail=detail))
    return after


async def delete(call: Call) -> Response:
    """DELETE /openai/v1/videos/{id}: erased, as DELETE /v1/tasks/{id} does it. Asked for twice it is done once."""
    task_id = await erased(call)
    return reply({"id": task_id, "object": "video.deleted", "deleted": True})


async def content(call: Call) -> Response:
    """GET /openai/v1/videos/{id}/content: 302 to the output. The SDKs follow it, and leave the key behind at another origin."""
    query = Query(call.request, ("variant",))
    variant = query.choice("variant", VARIANTS) or "video"
    query.settle()
    if variant != "video":
        detail = f"No {variant} is made here: providers give the video alone, and it never passes through taskrelay."
        raise Problem("not_offered", f"{detail} Leave variant out, and make one of the video.")
    task = await read(call, call.id("task"))
    if task.finished_at is None:
        raise Problem("output_not_ready", f"It is {views.STATUSES[task.status]}. Ask for it once it is completed.")
    if task.status is not TaskStatus.SUCCEEDED or not task.outputs:
        raise Problem(
            "output_gone", f"There is no output: the task is {task.status}. GET /v1/tasks/{task.id} says why."
        )
    location = call.context.output_url(task.id)
    return Response(status_code=302, headers={"location": location, "referrer-policy": "no-referrer"})


async def not_offered(call: Call) -> Response:
    """What OpenAI has beside: remix, edit, extend, characters."""
    raise Problem(
        "not_offered",
        "There is no remix, edit, extension or character here. Create a video with the image, images or video_id that its "
        "model takes; GET /v1/providers says which.",
    )


async def read(call: Call, task_id: str) -> Task:
    task = await call.context.database.read(lambda tx: tasks.get(tx, task_id, call.project_id))
    if task is None or task.erased_at is not None:
        raise absent("task")
    return task


def _told(call: Call, task: Task, pause_ms: int = PAUSE_MS) -> Response:
    headers = {} if task.finished_at is not None else {"openai-poll-after-ms": str(pause_ms)}
    return reply(_view(call, task), 200, headers)


def _view(call: Call, task: Task) -> dict[str, object]:
    output_url = call.context.output_url(task.id) if task.outputs else None
    view = task_view(task, public_url=call.context.base, output_url=output_url)
    return views.video(task, view=view, output_url=output_url)
