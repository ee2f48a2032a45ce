"""UlazAI's side of Kling 3.0: create, status, upload; flat replies, no pushes. The package page says what is documented."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from service.sandbox import line, outputs
from service.sandbox.accounts import Account, Turned
from service.sandbox.desk import Desk
from service.sandbox.jobs import Contract, Found, Job, Phase
from service.sandbox.order import Refused
from service.sandbox.ulazai_body import DISCOUNT, read_order
from service.sandbox.upload import MULTIPART_MARGIN, picture_kind, read_file
from service.sandbox.world import World

PREFIX = "/kling30/api/"
PREFIXES = (PREFIX,)
WORDS = {Phase.WAITING: "pending", Phase.RUNNING: "processing", Phase.SUCCEEDED: "completed", Phase.FAILED: "failed"}
JSON_BODY = 1 << 20
MOST_PICTURE = 10 << 20
TURNED = {
    Turned.NO_KEY: (401, None, "Invalid or missing API key"),
    Turned.WRONG_KEY: (401, None, "Invalid or missing API key"),
    Turned.CONTENT: (400, None, "The prompt was rejected by content moderation"),
    Turned.ARREARS: (402, None, "Insufficient credits"),
    Turned.TOO_FAST: (429, None, "Rate limit exceeded"),
    Turned.TOO_MANY: (429, None, "Too many generations in progress"),
    Turned.FULL: (500, None, "The sandbox is full: POST /_sandbox/reset"),
}

# The documented reply to a create is `processing` at once, never `pending`.
CONTRACT = Contract(name="ulazai", words=WORDS, first=Phase.RUNNING, counts_by="prompt")


def routes(world: World) -> list[Route]:
    played = Ulazai(world)
    return [
        Route(PREFIX + "generate/", played.generate, methods=["POST"]),
        Route(PREFIX + "status/{task_id}/", played.status, methods=["GET"]),
        Route(PREFIX + "upload/", played.upload, methods=["POST"]),
    ]


def strayed(status: int) -> Response:
    """A path without its slash, or a translated one: the framework's page, not JSON."""
    return HTMLResponse("<h1>Not Found</h1>" if status == 404 else "<h1>Method Not Allowed</h1>", status)


def fault(status: int, code: str | None = None, message: str = line.TOLD, job: Job | None = None) -> Response:
    """Their own client reads `error` as text; the rest of the body is ours."""
    return line.Json({"success": False, "error": message}, status)


class Ulazai:
    """The three routes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.desk = Desk(world=world, contract=CONTRACT, fault=fault, words=TURNED)

    async def generate(self, request: Request) -> Response:
        return await self.desk.create(request, read_order, JSON_BODY, _accepted)

    async def status(self, request: Request) -> Response:
        async def find(account: Account) -> tuple[Sequence[Job], Found]:
            return self.desk.own(account, request.path_params["task_id"]), "id"

        return await self.desk.query(request, find, _shown)

    async def upload(self, request: Request) -> Response:
        return await self.desk.upload(request, MOST_PICTURE + MULTIPART_MARGIN, self._stored)

    def _stored(self, content_type: str, body: bytes) -> Response:
        kind = picture_kind(read_file(content_type, body, MOST_PICTURE))
        if kind is None:
            raise Refused("the picture is not JPEG, PNG or WebP")
        return line.Json({"success": True, "url": f"{self.world.knobs.output_base}/uploads/{uuid.uuid4()}.{kind}"})


async def _accepted(_: Request, job: Job) -> Response:
    """The reply to a create. `provider_task_id` is the upstream's id: asking for the status with it finds nothing."""
    reply = {
        "success": True,
        "task_id": job.id,
        "provider_task_id": uuid.uuid4().hex,
        "status": WORDS[Phase.RUNNING],
        "credits_used": job.asked["cost"],
        "directory_discount_applied": DISCOUNT if job.asked["prompt_directory_optin"] else 0,
        "estimated_time": "60-180 seconds",
    }
    return line.Json(reply)


def _shown(jobs: Sequence[Job]) -> Response:
    return line.Json(_state(jobs[0])) if jobs else fault(404, message="Task not found")


def _state(job: Job) -> dict[str, object]:
    """A job as the status route shows it."""
    shown: dict[str, object] = {"success": True, "task_id": job.id, "status": job.word}
    if job.phase is Phase.SUCCEEDED:
        if job.shows_output:
            shown["video_url"] = outputs.link(job)
        shown["credits_charged"] = job.asked["cost"]
        published = uuid.uuid5(uuid.NAMESPACE_URL, job.id)
        shown["prompt_submission_id"] = str(published) if job.asked["prompt_directory_optin"] else None
    elif job.phase is Phase.FAILED:
        # A failed job is a successful question: HTTP 200 and success true, as on their Video Studio API.
        shown |= {"error_message": job.reason, "credits_refunded": job.asked["cost"]}
    return shown
