"""The sandbox's own door, /_sandbox/…: script it, turn its knobs and rules, move a job by hand, read everything it saw. No credential."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.sandbox import outputs
from service.sandbox.accounts import Account, label
from service.sandbox.directives import UnknownDirective
from service.sandbox.jobs import Asked, Job
from service.sandbox.line import Json
from service.sandbox.rules import BadRule, Scope, turned
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
        Route(PREFIX + "/rules", _checked(control.rules), methods=["GET", "PATCH"]),
        Route(PREFIX + "/accounts", control.accounts, methods=["GET"]),
        Route(PREFIX + "/reset", control.reset, methods=["POST"]),
        Route(PREFIX + "/jobs/{job_id}/begin", _checked(control.begin), methods=["POST"]),
        Route(PREFIX + "/jobs/{job_id}/finish", _checked(control.finish), methods=["POST"]),
        Route(PREFIX + "/jobs/{job_id}/push", _checked(control.push), methods=["POST"]),
        Route(PREFIX + "/jobs/{job_id}/purge", _checked(control.purge), methods=["POST"]),
        Route(PREFIX + "/outputs/{path:path}", control.play, methods=["GET"]),
    ]


class BadOrder(ValueError):
    """An order the sandbox cannot follow; the message says what it takes."""


Endpoint = Callable[[Request], Awaitable[Response]]


def _checked(endpoint: Endpoint) -> Endpoint:
    """Turn a bad order into a 400 that says what is wrong with it."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except (BadOrder, BadRule, BadScript, UnknownDirective) as error:
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
        return Json(_masked(asdict(self.world.knobs)))

    async def rules(self, request: Request) -> Response:
        """Rules of a contract, a key or both. A key is named by itself or by its label, and told by its label."""
        if request.method == "PATCH":
            change = dict(await _order(request))
            self.world.book.change(self._scope(change), change)
        return Json(
            [
                {"contract": scope.contract, "key": None if scope.key is None else label(scope.key), **_masked(own)}
                for scope, own in self.world.book.own.items()
            ]
        )

    async def accounts(self, request: Request) -> Response:
        return Json([self._standing(account) for account in self.world.accounts.values()])

    def _scope(self, change: dict[str, object]) -> Scope:
        """Take the scope out of a change."""
        contract, key = change.pop("contract", None), change.pop("key", None)
        if not isinstance(contract, str | None) or not isinstance(key, str | None):
            raise BadOrder("contract and key are texts, or left out for any")
        known = {account.label: account.key for account in self.world.accounts.values()}
        return Scope(contract, key if key is None else known.get(key, key))

    def _standing(self, account: Account) -> Mapping[str, object]:
        rules = self.world.rules(account.company, account.key)
        return {
            "key": account.label,
            "company": account.company,
            "spent": float(account.spent),
            "left": float(rules.credits - account.spent),
            "open": account.open,
        }

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

    async def purge(self, request: Request) -> Response:
        """Delete a job's output. `keep_record`: queries still show the job, without a link."""
        job = self._job(request)
        match await _order(request):
            case {"keep_record": bool(keep), **rest} if not rest:
                self.world.purge(job.id, keep_record=keep)
            case {**rest} if not rest:
                self.world.purge(job.id)
            case _:
                raise BadOrder('purge takes {"keep_record": true|false}, or nothing')
        return Json(told(job))

    async def play(self, request: Request) -> Response:
        """The file behind a link, where `output_base` leads here."""
        name = request.path_params["path"].rpartition("/")[2].removesuffix(".mp4").removesuffix("-watermark")
        return outputs.play(request, self.world.jobs.get(name), self.world.clock())

    def _job(self, request: Request) -> Job:
        job = self.world.jobs.get(request.path_params["job_id"])
        if job is None:
            raise BadOrder("there is no such job; GET /_sandbox/jobs lists them")
        return job


SECRETS = ("api_key", "webhook_secret")


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
        "spent": {f"{account.company}/{account.label}": float(account.spent) for account in world.accounts.values()},
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
        "account": job.account.label,
        "id": job.id,
        "external_id": job.external_id,
        "prompt": job.prompt,
        "asked": job.asked,
        "charged": float(job.credits),
        "callback_url": job.callback_url,
        "status": job.word,
        "accepted_at": job.accepted_at,
        "finished_at": job.finished_at,
        "changes": job.changes,
        "pushes": pushes,
        "queries": list(job.queries),
        "queried": job.queried,
        "purged": job.purged,
    }


def _seen(asked: Asked) -> Mapping[str, object]:
    return {**asdict(asked), "body": asked.body.decode(errors="replace")}


def _masked(switches: Mapping[str, object]) -> dict[str, object]:
    return {name: "set" if name in SECRETS and value is not None else value for name, value in switches.items()}
