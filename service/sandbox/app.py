"""The sandbox as one application: every contract's routes, its own door, and a record of each request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.sandbox import cloudsway, control, ulazai
from service.sandbox.jobs import Asked
from service.sandbox.line import Json
from service.sandbox.world import World


class Played(Protocol):
    """A contract's module: its paths and what it says where there is none."""

    PREFIX: str

    def routes(self, world: World) -> list[Route]: ...

    def strayed(self, status: int) -> Response: ...


CONTRACTS: Sequence[Played] = (cloudsway, ulazai)
UNKEPT = {b"authorization", b"cookie", b"proxy-authorization"}


def create_app(world: World) -> Starlette:
    """Play the providers of this world."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        world.open_up()
        yield
        await world.close()

    app = Starlette(
        routes=[*(route for contract in CONTRACTS for route in contract.routes(world)), *control.routes(world)],
        middleware=[Middleware(Recorder, world=world)],
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
        if request.url.path.startswith(contract.PREFIX):
            return contract.strayed(status)
    return Json({"error": f"the sandbox has no {request.method} {request.url.path}"}, status)


class Recorder:
    """Writes down every request to a provider, answered or not, without its credential."""

    def __init__(self, app: ASGIApp, world: World) -> None:
        self.app = app
        self.world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(control.PREFIX):
            await self.app(scope, receive, send)
            return
        asked = self._record(scope)
        self.world.requests.append(asked)
        scope["sandbox.asked"] = asked

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                asked.status = message["status"]
            await send(message)

        await self.app(scope, receive, noting)
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
