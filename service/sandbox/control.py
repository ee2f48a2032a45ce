"""The sandbox's own door, /_sandbox/…: script it, turn its knobs, move a job by hand, read everything it saw. No credential."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.sandbox.directives import UnknownDirective
from service.sandbox.jobs import Asked, Job, Knobs
from service.sandbox.line import Json
from service.sandbox.script import BadScript, read_script
from service.sandbox.world import World

PREFIX = "/_sandbox"
MOST_BODY = 1 << 20


def routes(world: World) -> list[Route]:
    control = Control(world)
    return [
        Route(PREFIX + "/ledger", control.ledger, methods=["GET"]),
        Route(PREFIX + "/jobs", control.jobs, methods=["GET"]),
        Route(PREFIX + "/requests", control.requests, methods=["GET"]),
        Route(PREFIX + "/script", _checked(control.script), methods=["GET", "PUT"]),
        Route(PREFIX + "/knobs", _checked(control.knobs), methods=["GET", "PATCH"]),
        Route(PREFIX + "/reset", control.reset, methods=["POST"]),
        Route(PREFIX + "/jobs/{job_id}/begin", _checked(control.begin), methods=["POST"]),
        Route(PREFIX + "/jobs/{job_id}/finish", _checked(control.finish), methods=["POST"]),
        Route(PREFIX + "/jobs/{job_id}/push", _checked(control.push), methods=["POST"]),
    ]


class BadOrder(ValueError):
    """An order the sandbox cannot follow; the message says what it takes."""


Endpoint = Callable[[Request], Awaitable[Response]]


def _checked(endpoint: Endpoint) -> Endpoint:
    """Turn a bad order into a 400 that says what is wrong with it."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except (BadOrder, BadScript, UnknownDirective) as error:
            return Json({"error": str(error)}, 400)

    return answer


@dataclass(frozen=True, slots=True)
class Control:
    """The routes. Everything they answer is a copy of what the world holds in memory."""

    world: World

    async def ledger(self, request: Request) -> Response:
        return Json(ledger(self.world))

    async def jobs(self, request: Request) -> Response:
        return Json([told(job) for job in self.world.jobs.values()])

    async def requests(self, request: Request) -> Response:
        wanted = {name: request.query_params.get(name) for name in ("contract", "kind")}
        seen = [
            asked
            for asked in self.world.requests
            if wanted["contract"] in (None, asked.contract) and wanted["kind"] in (None, asked.kind)
        ]
        return Json([_seen(asked) for asked in seen])

    async def script(self, request: Request) -> Response:
        if request.method == "PUT":
            self.world.script = read_script(await _order(request))
        return Json(asdict(self.world.script))

    async def knobs(self, request: Request) -> Response:
        if request.method == "PATCH":
            self.world.knobs = turned(self.world.knobs, await _order(request))
        secrets = {name: None if getattr(self.world.knobs, name) is None else "set" for name in SECRETS}
        return Json({**asdict(self.world.knobs), **secrets})

    async def reset(self, request: Request) -> Response:
        await self.world.reset()
        return Response(status_code=204)

    async def begin(self, request: Request) -> Response:
        job = self._job(request)
        self.world.begin(job.id)
        return Json(told(job))

    async def finish(self, request: Request) -> Response:
        job = self._job(request)
        match await _order(request):
            case {"failed": bool(failed), **rest} if not rest:
                self.world.finish(job.id, failed=failed)
            case {**rest} if not rest:
                self.world.finish(job.id)
            case _:
                raise BadOrder('finish takes {"failed": true|false}, or nothing to end as the job was told to')
        return Json(told(job))

    async def push(self, request: Request) -> Response:
        match await _order(request):
            case {"status": str(word), **rest} if not rest:
                job = self._job(request)
            case _:
                raise BadOrder('push takes {"status": "<word>"}')
        try:
            await self.world.push(job.id, word)
        except ValueError as error:
            raise BadOrder(str(error)) from error
        return Json(told(job))

    def _job(self, request: Request) -> Job:
        job = self.world.jobs.get(request.path_params["job_id"])
        if job is None:
            raise BadOrder("there is no such job; GET /_sandbox/jobs lists them")
        return job


SECRETS = ("api_key", "webhook_secret")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_span(value: object) -> bool:
    return type(value) in (int, float) and 0 <= float(str(value)) <= 86_400


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= 1_000_000_000


TAKES: Mapping[str, Callable[[object], bool]] = {
    "api_key": lambda value: value is None or _is_text(value),
    "job_seconds": lambda value: value is None or _is_span(value),
    "unique_external_id": lambda value: isinstance(value, bool),
    "concurrency_limit": lambda value: value is None or _is_count(value),
    "webhook_secret": lambda value: value is None or _is_text(value),
    "push_timeout_seconds": _is_span,
    "push_retries": _is_count,
    "push_retry_seconds": _is_span,
    "credits": _is_count,
    "output_base": _is_text,
}


def turned(knobs: Knobs, change: Mapping[str, object]) -> Knobs:
    """The knobs after a change; every name and value is checked first."""
    for name, value in change.items():
        if name not in TAKES:
            raise BadOrder(f"there is no knob {name!r}; there are {', '.join(TAKES)}")
        if not TAKES[name](value):
            raise BadOrder(f"{name} does not take {value!r}")
    return replace(knobs, **change)  # type: ignore[arg-type]  # TAKES has checked every value


async def _order(request: Request) -> Mapping[str, object]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BODY:
            raise BadOrder(f"the body is over {MOST_BODY} bytes")
    try:
        order = orjson.loads(bytes(body) or b"{}")
    except orjson.JSONDecodeError as error:
        raise BadOrder("the body is not JSON") from error
    if not isinstance(order, dict):
        raise BadOrder("the body is not a JSON object")
    return order


def ledger(world: World) -> Mapping[str, object]:
    """Everything that was bought, and what became of it, for an oracle or a timeline; instants are epoch seconds."""
    return {
        "now": world.clock(),
        "accepted": world.accepted,
        "open": world.open,
        "credits": world.credits,
        "jobs": [told(job) for job in world.jobs.values()],
    }


def told(job: Job) -> Mapping[str, object]:
    """One job as the ledger tells it."""
    pushes = [
        {
            "webhook_id": push.webhook_id,
            "status": push.word,
            "at": push.at,
            "dropped": push.dropped,
            "attempts": push.attempts,
        }
        for push in job.pushes
    ]
    return {
        "contract": job.contract.name,
        "id": job.id,
        "external_id": job.external_id,
        "prompt": job.prompt,
        "asked": job.asked,
        "callback_url": job.callback_url,
        "status": job.word,
        "accepted_at": job.accepted_at,
        "finished_at": job.finished_at,
        "changes": job.changes,
        "pushes": pushes,
        "queries": list(job.queries),
        "queried": job.queried,
    }


def _seen(asked: Asked) -> Mapping[str, object]:
    return {**asdict(asked), "body": asked.body.decode(errors="replace")}
