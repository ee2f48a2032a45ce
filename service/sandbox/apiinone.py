"""API in One's side of kling-3: one create, one query, in any of three generations of replies. The package page says what is ours:
nearly every reply.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.sandbox import line
from service.sandbox.accounts import Account, Turned
from service.sandbox.apiinone_body import read_order
from service.sandbox.apiinone_replies import WORDS, error, shown
from service.sandbox.desk import Desk
from service.sandbox.jobs import Contract, Found, Job, Phase
from service.sandbox.world import World

PREFIX = "/api/v1/"
PREFIXES = (PREFIX,)
JSON_BODY = 1 << 20
TURNED = {
    Turned.NO_KEY: (401, None, "API key is missing"),
    Turned.WRONG_KEY: (401, None, "API key is invalid"),
    Turned.CONTENT: (400, None, "The prompt violates the content policy"),
    Turned.ARREARS: (402, None, "Insufficient credits"),
    Turned.TOO_FAST: (429, None, "Too many requests"),
    Turned.TOO_MANY: (429, None, "Too many tasks in progress"),
    Turned.FULL: (500, None, "The sandbox is full: POST /_sandbox/reset"),
}

# The ledger tells phases in the earliest words, whichever a reply uses.
CONTRACT = Contract(name="apiinone", words=WORDS["early"], first=Phase.WAITING, counts_by="prompt")


def routes(world: World) -> list[Route]:
    played = ApiInOne(world)
    return [
        Route(PREFIX + "videos/generations", played.generate, methods=["POST"]),
        Route(PREFIX + "tasks/{task_id}", played.task, methods=["GET"]),
    ]


def strayed(status: int) -> Response:
    return line.Json(error("early", status, "Not Found" if status == 404 else "Method Not Allowed"), status)


class ApiInOne:
    """The two routes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.desk = Desk(world=world, contract=CONTRACT, fault=self._fault, words=TURNED, new_id=self._id)

    async def generate(self, request: Request) -> Response:
        return await self.desk.create(request, read_order, JSON_BODY, self._accepted)

    async def task(self, request: Request) -> Response:
        async def find(account: Account) -> tuple[Sequence[Job], Found]:
            return self.desk.own(account, request.path_params["task_id"]), "id"

        return await self.desk.query(request, find, self._shown)

    async def _accepted(self, _: Request, job: Job) -> Response:
        return line.Json(shown(job, self.world.knobs.apiinone_replies))

    def _shown(self, jobs: Sequence[Job]) -> Response:
        if not jobs:
            return self._fault(404, message="Task not found")
        return line.Json(shown(jobs[0], self.world.knobs.apiinone_replies))

    def _fault(
        self, status: int, code: str | None = None, message: str = line.TOLD, job: Job | None = None
    ) -> Response:
        return line.Json(error(self.world.knobs.apiinone_replies, status, message), status)

    def _id(self) -> str:
        """In the early samples `tsk_…`; in the later ones a node, some digits and the model."""
        digits = uuid.uuid4().hex[:12]
        return f"tsk_{digits}" if self.world.knobs.apiinone_replies == "early" else f"n75{digits}_kling3"
