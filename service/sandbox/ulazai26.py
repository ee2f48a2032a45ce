"""UlazAI's side of Kling 2.6: create and status, everything nested under `data`, no pushes. The package page says what is documented."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.sandbox import line, outputs, ulazai
from service.sandbox.accounts import Account
from service.sandbox.desk import Desk
from service.sandbox.jobs import Contract, Found, Job, Phase
from service.sandbox.ulazai26_body import read_order
from service.sandbox.world import World

PREFIX = "/kling26/api/"
PREFIXES = (PREFIX,)
# One company, one balance: a credential's credits are spent on either contract.
CONTRACT = Contract(name="ulazai-2.6", company="ulazai", words=ulazai.WORDS, first=Phase.RUNNING, counts_by="prompt")


def routes(world: World) -> list[Route]:
    played = Ulazai26(world)
    return [
        Route(PREFIX + "generate/", played.generate, methods=["POST"]),
        Route(PREFIX + "status/{task_id}/", played.status, methods=["GET"]),
    ]


def strayed(status: int) -> Response:
    return ulazai.strayed(status)


class Ulazai26:
    """The two routes; the page documents no upload here."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.desk = Desk(world=world, contract=CONTRACT, fault=ulazai.fault, words=ulazai.TURNED)

    async def generate(self, request: Request) -> Response:
        return await self.desk.create(request, read_order, ulazai.JSON_BODY, self._accepted)

    async def status(self, request: Request) -> Response:
        async def find(account: Account) -> tuple[Sequence[Job], Found]:
            return self.desk.own(account, request.path_params["task_id"]), "id"

        return await self.desk.query(request, find, self._shown)

    async def _accepted(self, _: Request, job: Job) -> Response:
        left = self.world.balance(CONTRACT, job.account)
        reply = {
            "task_id": job.id,
            "status": ulazai.WORDS[Phase.RUNNING],
            "credits_used": job.asked["cost"],
            "credits_remaining": int(left),
            "estimated_time": "60-90 seconds",
            "message": "KLING 2.6 video generation started",
        }
        return line.Json({"success": True, "data": reply}, 201)

    def _shown(self, jobs: Sequence[Job]) -> Response:
        if not jobs:
            return ulazai.fault(404, message="Task not found")
        return line.Json({"success": True, "data": _state(jobs[0], self.world.clock())})


def _state(job: Job, now: float) -> dict[str, object]:
    """A job as the status route shows it. Seconds went in as text and come out as a number; there is no charge in it."""
    shown: dict[str, object] = {"task_id": job.id, "status": job.word}
    if job.phase is Phase.SUCCEEDED:
        if job.shows_output:
            shown["video_url"] = outputs.link(job, "kling/videos/")
        shown |= {"duration": int(str(job.asked["duration"])), "has_audio": job.asked["sound"]}
    elif job.phase is Phase.FAILED:
        shown["error_message"] = job.reason
    else:
        shown["progress"] = min(95, 5 + int(now - job.accepted_at))
    return shown
