"""The HTTP interface: every route in one table, and the frame around them all.

request ─▶ /callbacks/… ─▶ door (bare ASGI)
        └▶ frame: request id, errors ─▶ router ─▶ key ─▶ scope ─▶ route
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Message, Receive, Scope, Send

from service.api import (
    accounts,
    audit,
    auth,
    creation,
    deliveries,
    endpoint_care,
    endpoints,
    erasing,
    event_types,
    events,
    keys,
    problems,
    project_secrets,
    projects,
    providers,
    reconcile,
    resolve,
    signing_keys,
    stream,
    tasks,
    uploads,
    usage,
    whoami,
)
from service.api.access import NO_ROUTE, Access
from service.api.call import Answer
from service.api.context import Context
from service.api.cors import Cors
from service.api.door import Door
from service.api.keyed import MORE, Row, Scopes, keyed
from service.api.metrics import Metrics
from service.api.openapi.open_doors import OPERATIONS as OPEN
from service.api.openapi.pages import Pages
from service.api.outputs import Outputs
from service.api.public import Public
from service.pipeline.callback import CallbackDesk, secrets_of
from storage.errors import StorageError

log = logging.getLogger("taskrelay.api")

# To whom the answer took longer than a stop waits. It may have been done: only the answer is lost.
STOPPING = problems.Problem(
    "unavailable", "This process is stopping. Look before you ask again.", headers={"retry-after": "5"}
)

ROUTES: tuple[Row, ...] = (
    ("POST", "/v1/tasks", auth.WRITE_TASKS, creation.create),
    ("GET", "/v1/tasks", auth.READ_TASKS, tasks.page),
    ("GET", "/v1/tasks/{id}", auth.READ_TASKS, tasks.one),
    ("GET", "/v1/tasks/{id}/timeline", auth.READ_TASKS, tasks.timeline),
    ("DELETE", "/v1/tasks/{id}", auth.WRITE_TASKS, erasing.erase_task),
    ("POST", "/v1/tasks/{id}/cancel", auth.WRITE_TASKS, tasks.cancel),
    ("POST", "/v1/tasks/{id}/reconcile", auth.WRITE_TASKS, reconcile.reconcile),
    ("POST", "/v1/tasks/{id}/resolve", auth.WRITE_TASKS, resolve.one),
    ("POST", "/v1/tasks/resolve", auth.WRITE_TASKS, resolve.many),
    ("POST", "/v1/uploads", auth.WRITE_TASKS, uploads.create),
    ("GET", "/v1/usage", auth.READ, usage.page),
    ("GET", "/v1/providers", auth.ANYBODY, providers.page),
    ("GET", "/v1/providers/{name}", auth.ANYBODY, providers.one),
    ("GET", "/v1/accounts", auth.READ, accounts.page),
    ("GET", "/v1/accounts/{name}", auth.READ, accounts.one),
    ("POST", "/v1/accounts/{name}/pause", auth.ADMIN, accounts.pause),
    ("POST", "/v1/accounts/{name}/resume", auth.ADMIN, accounts.resume),
    ("POST", "/v1/accounts/{name}/check", auth.ADMIN, accounts.ask),
    ("POST", "/v1/endpoints", auth.WRITE_ENDPOINTS, endpoints.create),
    ("GET", "/v1/endpoints", auth.READ_ENDPOINTS, endpoints.page),
    ("GET", "/v1/endpoints/{id}", auth.READ_ENDPOINTS, endpoints.one),
    ("PATCH", "/v1/endpoints/{id}", auth.WRITE_ENDPOINTS, endpoints.change),
    ("DELETE", "/v1/endpoints/{id}", auth.WRITE_ENDPOINTS, endpoints.delete),
    ("POST", "/v1/endpoints/{id}/test", auth.WRITE_ENDPOINTS, endpoint_care.test),
    ("POST", "/v1/endpoints/{id}/pause", auth.WRITE_ENDPOINTS, endpoint_care.pause),
    ("POST", "/v1/endpoints/{id}/resume", auth.WRITE_ENDPOINTS, endpoint_care.resume),
    ("GET", "/v1/endpoints/{id}/secret", auth.WRITE_ENDPOINTS, endpoint_care.secret),
    ("POST", "/v1/endpoints/{id}/rotate", auth.WRITE_ENDPOINTS, endpoint_care.rotate),
    ("GET", "/v1/endpoints/{id}/stats", auth.READ_ENDPOINTS, endpoint_care.stats),
    ("POST", "/v1/endpoints/{id}/replay", auth.WRITE_ENDPOINTS, endpoint_care.replay),
    ("GET", "/v1/signing-keys", auth.ANYBODY, signing_keys.page),
    ("POST", "/v1/signing-keys/rotate", auth.WRITE_ENDPOINTS, signing_keys.rotate),
    ("GET", "/v1/event-types", auth.ANYBODY, event_types.page),
    ("GET", "/v1/event-types/{type}", auth.ANYBODY, event_types.one),
    ("GET", "/v1/event-types/{type}/samples", auth.ANYBODY, event_types.examples),
    ("GET", "/v1/events", auth.ANYBODY, events.page),
    ("GET", "/v1/events/stream", auth.ANYBODY, stream.stream),
    ("GET", "/v1/events/{id}", auth.ANYBODY, events.one),
    ("GET", "/v1/deliveries", auth.ANYBODY, deliveries.page),
    ("GET", "/v1/deliveries/{id}", auth.ANYBODY, deliveries.one),
    ("POST", "/v1/deliveries/{id}/retry", auth.WRITE_ENDPOINTS, deliveries.retry),
    ("GET", "/v1/audit", auth.READ, audit.check),
    ("GET", "/v1/audit/log", auth.READ, audit.log),
    ("GET", "/v1/whoami", auth.ANYBODY, whoami.whoami),
    ("POST", "/v1/projects", auth.ADMIN, projects.create),
    ("GET", "/v1/projects", auth.ANYBODY, projects.page),
    ("GET", "/v1/projects/{id}", auth.ANYBODY, projects.one),
    ("PATCH", "/v1/projects/{id}", auth.ADMIN, projects.change),
    ("DELETE", "/v1/projects/{id}", auth.ADMIN, projects.delete),
    ("GET", "/v1/projects/{id}/secret", auth.WRITE_ENDPOINTS, project_secrets.secret),
    ("POST", "/v1/projects/{id}/rotate", auth.WRITE_ENDPOINTS, project_secrets.rotate),
    ("POST", "/v1/keys", auth.ADMIN, keys.create),
    ("GET", "/v1/keys", auth.READ, keys.page),
    ("GET", "/v1/keys/{id}", auth.READ, keys.one),
    ("DELETE", "/v1/keys/{id}", auth.ANYBODY, keys.revoke),
)

# What stands beside the table, for the document.
OPEN_ROWS = tuple((method, path, operation.scopes) for (method, path), operation in OPEN.items())


def create_app(context: Context, *, only_health: bool = False, more: Sequence[Row] = ()) -> Api:
    """The ASGI application. `only_health`: of a replica that takes no requests. `more`: rows beside ROUTES, of other dialects."""
    return Api(context, only_health=only_health, more=more)


class Api:
    """The frame: pushes go to the door, everything else gets a request id and answers to its errors."""

    def __init__(self, context: Context, *, only_health: bool = False, more: Sequence[Row] = ()) -> None:
        self._context = context
        self._only_health = only_health
        desk = CallbackDesk(
            recorder=context.recorder,
            providers=context.providers,
            read_token=context.tokens.read_callback,
            secrets=secrets_of(context.accounts),
            clock=context.clock,
            echo=context.tokens.echo,
        )
        self._public = Public(context)
        self._cors = Cors(context.cors_origins)
        self._door = Door(desk, context.limits, context.base, self._public.refused, mint=context.mint)
        # A redirect to the path with a slash would be built from the Host the client states.
        routes = _health(context, self._public) if only_health else _routes(context, self._public, (*ROUTES, *more))
        self._router = Router(routes, redirect_slashes=False)
        self._templates: dict[object, str] = {route.endpoint: route.path for route in routes}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if scope["path"].startswith("/callbacks/") and not self._only_health:
                await self._door(scope, receive, send)  # type: ignore[arg-type]
            else:
                await self._frame(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _frame(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = self._context.mint("req")
        access = Access(scope, request_id)
        more = [(b"x-request-id", request_id.encode()), (b"x-content-type-options", b"nosniff")]
        more += self._cors.headers(scope)
        started = False

        async def framed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                access.answered(message["status"])
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        scope[MORE] = more
        scope["app"] = self  # makes the router raise its 404 and 405 instead of answering them as plain text
        try:
            await (self._cors.preflight(scope) or self._router)(scope, receive, framed)
        except ClientDisconnect:
            pass
        except asyncio.CancelledError:
            if started:
                raise
            await problems.render(STOPPING, request_id, self._context.base)(scope, receive, framed)
        except Exception as error:
            if isinstance(error, StorageError):
                self._public.refused(error)
            problem = problems.of(error, self._context.base)
            access.refused(problem.code)
            if problem.kind.status == 500:
                log.exception("request %s failed", request_id)
            if started:
                raise
            await problems.render(problem, request_id, self._context.base)(scope, receive, framed)
        finally:
            access.ended(self._templates.get(scope.get("endpoint"), NO_ROUTE), told=self._context.access_log)


def _health(context: Context, public: Public) -> list[Route]:
    return [Route("/livez", public.live), Route("/readyz", public.ready), Route("/metrics", Metrics(context).page)]


def _routes(context: Context, public: Public, rows: Sequence[Row]) -> list[Route]:
    routes = [
        *_health(context, public),
        Route("/", public.root),
        Route("/docs/problems", public.problems),
        Route("/o/{token}", Outputs(context).output),
    ]
    if context.docs:
        routes += Pages(
            [*((method, path, scopes) for method, path, scopes, _ in rows), *OPEN_ROWS], context.base
        ).routes()
    by_path: dict[str, dict[str, tuple[Scopes, Answer]]] = {}
    for method, path, scopes, answer in rows:
        by_path.setdefault(path, {})[method] = (scopes, answer)
    routes += [_apart(path, list(answers)) for path, answers in by_path.items() if _shadowed(path, by_path)]
    return routes + [
        Route(path, keyed(path, answers, context), methods=list(answers)) for path, answers in by_path.items()
    ]


def _shadowed(path: str, known: Iterable[str]) -> bool:
    """Whether another path's placeholder would take it as well."""
    above = path.rpartition("/")[0]
    return any(
        other.rpartition("/")[0] == above and other.rpartition("/")[2].startswith("{")
        for other in known
        if other != path
    )


def _apart(path: str, methods: Sequence[str]) -> Route:
    """Of a path that another's placeholder would take as well: what it does not take itself is refused in its own name."""

    async def refuse(request: Request) -> Response:
        raise HTTPException(405, headers={"Allow": ", ".join(taken)})

    taken = sorted({*methods, *(("HEAD",) if "GET" in methods else ())})
    return Route(path, refuse, methods=sorted({"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - set(taken)))


async def _live(receive: Receive, send: Send) -> None:
    """Say yes to a server that wants to tell us of its start and end; what must start and end is not ours."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
