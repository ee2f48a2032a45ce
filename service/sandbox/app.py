"""The sandbox as one application: every contract's routes, its own door, and a record of each request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.sandbox import acedata, apiinone, cloudsway, control, requestlog, ulazai, ulazai26
from service.sandbox.jobs import Asked
from service.sandbox.line import KEPT_BODY, Json
from service.sandbox.world import World


class Played(Protocol):
    """A contract's module: its paths and what it says where there is none."""

    @property
    def PREFIXES(self) -> tuple[str, ...]: ...

    def routes(self, world: World) -> list[Route]: ...

    def strayed(self, status: int) -> Response: ...


CONTRACTS: Sequence[Played] = (cloudsway, ulazai, ulazai26, acedata, apiinone)
REST_SECONDS = 1.0
UNKEPT = {b"authorization", b"cookie", b"proxy-authorization"}


def create_app(world: World, log: requestlog.RequestLog | None = None) -> Starlette:
    """Play the providers of this world; with a log, every request is written to it."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        world.open_up()
        yield
        await world.close()

    app = Starlette(
        routes=[*(route for contract in CONTRACTS for route in contract.routes(world)), *control.routes(world)],
        middleware=[Middleware(Recorder, world=world, log=log)],
        exception_handlers={404: strayed, 405: strayed},
        lifespan=lifespan,
    )
    # A path without its slash is a 404 at UlazAI; a redirect would hide the mistake.
    app.router.redirect_slashes = False
    return app


async def strayed(request: Request, error: Exception) -> Response:
    """No such path or method, in the words of the contract whose path it resembles."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    for contract in CONTRACTS:
        if request.url.path.startswith(contract.PREFIXES):
            return contract.strayed(status)
    return Json({"error": f"the sandbox has no {request.method} {request.url.path}"}, status)


class Recorder:
    """Writes down every request to a provider, answered or not, without its credential."""

    def __init__(self, app: ASGIApp, world: World, log: requestlog.RequestLog | None = None) -> None:
        self.app = app
        self.world = world
        self.log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(control.PREFIX):
            await self.app(scope, receive, send)
            return
        asked = self._record(scope)
        self.world.requests.append(asked)
        scope["sandbox.asked"] = asked
        body = Body(receive, most=requestlog.MOST_BODY if self.log is not None else KEPT_BODY)

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                asked.status = message["status"]
                await body.rest()
                asked.body = bytes(body.kept[:KEPT_BODY])
            await send(message)

        try:
            await self.app(scope, body.receive, noting)
        finally:
            asked.body = bytes(body.kept[:KEPT_BODY])
            if self.log is not None:
                self.log.write(asked, bytes(body.kept), body.count, _credential(scope))
        self.world.stir()

    def _record(self, scope: Scope) -> Asked:
        host, port = scope["client"] or ("", 0)
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"] if name not in UNKEPT
        }
        return Asked(
            at=self.world.clock(),
            method=scope["method"],
            path=scope["path"],
            query=scope["query_string"].decode("latin-1"),
            client=f"{host}:{port}",
            headers=headers,
        )


class Body:
    """Keeps the beginning of what is read, and reads what a refusal left unread, so that a refused body is written down too."""

    def __init__(self, receive: Receive, most: int) -> None:
        self.kept = bytearray()
        self.count = 0
        self._receive = receive
        self._most = most
        self._more = True

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            part = message.get("body", b"")
            self.count += len(part)
            self.kept += part[: self._most - len(self.kept)]
            self._more = message.get("more_body", False)
        else:
            self._more = False
        return message

    async def rest(self) -> None:
        """At most as much as is kept, and for no longer than a client takes that is already sending."""
        with suppress(TimeoutError):
            async with asyncio.timeout(REST_SECONDS):
                while self._more and len(self.kept) < self._most:
                    await self.receive()


def _credential(scope: Scope) -> str:
    value = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    return str(value.decode("latin-1").rpartition(" ")[2])
