"""What every contract does with a connection: read a request within bounds, then answer it, spoil the answer, or hang up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.sandbox.directives import Directives
from service.sandbox.jobs import Asked, Job
from service.sandbox.world import World

HANG_UP = "sandbox.hang_up"  # ASGI extension that `serve` offers: closes this request's connection
KEPT_BODY = 16_384
TOLD = "The sandbox was told to say this"


class Fault(Protocol):
    """A contract's own error for an HTTP status and, where it has them, a code; `job` is one that was made all the same."""

    def __call__(
        self, status: int, code: str | None = None, message: str = TOLD, job: Job | None = None
    ) -> Response: ...


class Unreadable(ValueError):
    """The request cannot be read; `status` says how that is answered."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Silence(Response):
    """No answer at all: the connection is already gone."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        return


class Json(Response):
    """A JSON answer."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        return orjson.dumps(content)


def asked(request: Request) -> Asked:
    """The record of this request, made when it arrived."""
    record: Asked = request.scope["sandbox.asked"]
    return record


def credential(request: Request) -> str | None:
    """What stands after `Bearer`; None without the header, empty when it is of another scheme."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, key = header.partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def admitted(world: World, key: str | None) -> bool:
    return bool(key) and world.knobs.api_key in (None, key)


async def read_body(request: Request, cap: int) -> bytes:
    """The whole body, or `Unreadable` as soon as it is over the cap."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > cap:
            raise Unreadable(413, f"The body is over {cap} bytes")
    return bytes(body)


async def read_object(request: Request, cap: int) -> dict[str, object]:
    """A JSON object, sent as one."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Unreadable(400, "Content-Type must be application/json")
    try:
        body = orjson.loads(await read_body(request, cap))
    except orjson.JSONDecodeError as error:
        raise Unreadable(400, "The body is not JSON") from error
    if not isinstance(body, dict):
        raise Unreadable(400, "The body is not a JSON object")
    return body


async def before(request: Request, orders: Directives, fault: Fault) -> Response | None:
    """The answer that orders ask for before anything is made or looked at."""
    if orders.hang:
        return await hang(request)
    if orders.close:
        return await hang_up(request)
    if orders.status is not None:
        return _late(orders, fault(int(orders.status), orders.code))
    return None


async def after(request: Request, world: World, job: Job, fault: Fault) -> Response | None:
    """What orders make of the answer to a create that made a job; None: they let it be."""
    orders = job.directives
    if orders.push_before_reply:
        await world.pushed(job)
    if orders.late_reply:
        await until(request, world, lambda: False, orders.late_reply)
    if orders.lost_reply:
        return await hang_up(request)
    if orders.hang_after:
        return await hang(request)
    if orders.garbage:
        return garbage()
    if orders.status_after is not None:
        return _late(orders, fault(int(orders.status_after), orders.code, job=job))
    return None


async def until(request: Request, world: World, holds: Callable[[], bool], seconds: float | None = None) -> bool:
    """Wait with the connection open until something is true of the world. False: hung up, or the seconds are over."""
    waits = [asyncio.ensure_future(world.until(holds)), asyncio.ensure_future(hang(request))]
    if seconds is not None:
        waits.append(asyncio.ensure_future(world.sleep(seconds)))
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        return waits[0].done()
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


def garbage() -> Response:
    """A success by its status, and nothing by its body."""
    return Response(b'<!doctype html>\xff{"task_id": ', 200, media_type="application/json")


async def hang(request: Request) -> Response:
    """Keep the connection open without a word until the other side, or the server's end, closes it."""
    while (await request.receive())["type"] != "http.disconnect":
        continue
    return Silence()


async def hang_up(request: Request) -> Response:
    """Close the connection; the other side sees it end without a reply."""
    request.scope["extensions"][HANG_UP]()
    return await hang(request)


def _late(orders: Directives, response: Response) -> Response:
    if orders.retry_after is not None:
        response.headers["retry-after"] = str(int(orders.retry_after))
    return response
