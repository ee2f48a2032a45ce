"""POST /v1/tasks: create, or show what would be sent; asked for the same again, answered with the same task."""

from __future__ import annotations

import re

import orjson
from starlette.requests import Request
from starlette.responses import Response

from service.api.body import read_json
from service.api.call import Call, reply
from service.api.once import KEPT_UNTIL, Answered
from service.api.query import Query
from service.api.tasks import Seen, come_back, follow, view
from service.pipeline import create as creating
from service.pipeline.create import Created
from service.pipeline.preview import Bid, preview
from storage.database import Connection

WAIT = re.compile(r"""\s*wait\s*=\s*"?([0-9]{1,6})"?\s*(?:;.*)?""", re.IGNORECASE)


async def create(call: Call) -> Response:
    """POST /v1/tasks: 202, or 200 when the client preferred to wait and the task has ended."""
    query = Query(call.request, ("dry_run",))
    dry = query.choice("dry_run", ("true", "false")) == "true"
    query.settle()  # dry_run misspelt, were it ignored, would buy
    preferred = preferred_wait(call.request, call.context.limits.wait_seconds)
    body = await read_json(call.request, call.context.limits, judged=True)
    if dry:
        return await _previewed(call, body)
    try:
        return await _created(call, body, preferred)
    except Answered as again:
        # Who waits wants the end and not what was true at the beginning; and what was erased is shown as what is left of it.
        if again.task_id is None or (again.whole and not preferred):
            raise
        return _told(call, await follow(call, again.task_id, preferred or 0, None), preferred, again.marks)


async def _created(call: Call, body: object, preferred: int | None) -> Response:
    await call.stated(body)
    answers: list[Response] = []

    async def also(tx: Connection, made: Created) -> None:
        if call.once is not None:
            answers[:] = [_told(call, _seen(made), None)]
            await call.keep(tx, answers[0], task=made.task)

    desk = call.creating()
    made = await creating.create(creating.read(body, desk), call.project_id, desk, also=also)
    kept = {KEPT_UNTIL: answers[0].headers[KEPT_UNTIL]} if answers else {}
    if preferred:
        return _told(call, await follow(call, made.task.id, preferred, None), preferred, kept)
    return answers[0] if answers else _told(call, _seen(made), None)


def _seen(made: Created) -> Seen:
    return Seen(task=made.task, lane=made.lane, open_jobs=made.open_jobs)


def _told(call: Call, seen: Seen, preferred: int | None, more: dict[str, str] | None = None) -> Response:
    ended = seen.task.finished_at is not None
    headers = {
        "location": f"{call.context.base}/v1/tasks/{seen.task.id}",
        **come_back(seen, call.context),
        **(more or {}),
    }
    if ended and preferred:
        headers["preference-applied"] = f"wait={preferred}"
    return reply(view(seen, call.context), 200 if ended else 202, headers)


async def _previewed(call: Call, body: object) -> Response:
    desk = call.context.creating()
    trial = await preview(creating.read(body, desk), call.project_id, desk, call.context.client)
    first, *others = map(_bid, trial.bids)
    return reply({"object": "dry_run", **first, "fallbacks": others, "budget": trial.budget})


def _bid(bid: Bid) -> dict[str, object]:
    """What would be sent to one of those who may be asked, and what it would cost."""
    one, sent = bid.candidate, bid.request
    return {
        "provider": one.provider,
        "account": one.account,
        "model": one.model,
        "input": orjson.Fragment(one.input),
        "request": None
        if sent is None
        else {"method": sent.method, "url": sent.url, "headers": dict(sent.headers), "body": sent.body},
        "cannot_be_sent": bid.why,
        "cost": bid.cost,
    }


def preferred_wait(request: Request, most: int) -> int | None:
    """N of `Prefer: wait=N` (RFC 7240), at most `most`. What cannot be read is no preference."""
    for stated in request.headers.getlist("prefer"):
        for preference in stated.split(","):
            if found := WAIT.fullmatch(preference):
                return min(int(found[1]), most)
    return None
