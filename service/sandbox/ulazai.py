"""UlazAI's side of Kling 3.0: create, status, upload; flat replies, no pushes. The package page says what is documented."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from service.sandbox import line
from service.sandbox.directives import Directives, UnknownDirective
from service.sandbox.jobs import Contract, Job, Phase
from service.sandbox.ulazai_body import DISCOUNT, Order, Refused, read_order, read_picture
from service.sandbox.world import World

PREFIX = "/kling30/api/"
WORDS = {Phase.WAITING: "pending", Phase.RUNNING: "processing", Phase.SUCCEEDED: "completed", Phase.FAILED: "failed"}
JSON_BODY = 1 << 20
MOST_PICTURE = 10 << 20
MULTIPART_MARGIN = 64 << 10

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


def fault(status: int, code: int | None = None, message: str = "The sandbox was told to say this") -> Response:
    """Their own client reads `error` as text; the rest of the body is ours."""
    return line.Json({"success": False, "error": message}, status)


@dataclass(frozen=True, slots=True)
class Ulazai:
    """The three routes."""

    world: World

    async def generate(self, request: Request) -> Response:
        record = line.asked(request)
        record.contract, record.kind = CONTRACT.name, "create"
        try:
            self._authorize(request)
            order = read_order(await line.read_object(request, JSON_BODY))
            record.ignored, record.told = order.ignored, order.effective
            orders = self.world.orders("creates", CONTRACT.name, order.prompt)
            if (early := await line.before(request, orders, fault)) is not None:
                return early
            self._admit(order, orders)
        except (Refused, line.Unreadable) as refused:
            return fault(refused.status, message=str(refused))
        except UnknownDirective as error:
            return fault(400, message=str(error))
        job = self.world.accept(self._job(order, orders))
        record.job_id = job.id
        return await line.after(request, self.world, job, fault, _accepted(job))

    async def status(self, request: Request) -> Response:
        record = line.asked(request)
        record.contract, record.kind = CONTRACT.name, "query"
        try:
            self._authorize(request)
        except Refused as refused:
            return fault(refused.status, message=str(refused))
        job = self.world.find(CONTRACT.name, request.path_params["task_id"])
        self.world.note_query([job] if job is not None else [], "id")
        orders = self.world.orders("queries", CONTRACT.name)
        if (early := await line.before(request, orders, fault)) is not None:
            return early
        if orders.garbage:
            return line.garbage()
        if job is None or orders.empty:
            return fault(404, message="Task not found")
        return line.Json(_state(job))

    async def upload(self, request: Request) -> Response:
        record = line.asked(request)
        record.contract, record.kind = CONTRACT.name, "upload"
        try:
            self._authorize(request)
            body = await line.read_body(request, MOST_PICTURE + MULTIPART_MARGIN)
            suffix = read_picture(request.headers.get("content-type", ""), body, MOST_PICTURE)
        except line.Unreadable as error:
            return fault(400, message=str(error))
        except Refused as refused:
            return fault(refused.status, message=str(refused))
        return line.Json({"success": True, "url": f"{self.world.knobs.output_base}/uploads/{uuid.uuid4()}.{suffix}"})

    def _authorize(self, request: Request) -> None:
        if not line.admitted(self.world, line.credential(request)):
            raise Refused("Invalid or missing API key", status=401)

    def _admit(self, order: Order, orders: Directives) -> None:
        """What only the account's state can refuse. Nothing is awaited between this and `accept`."""
        if orders.refuse:
            raise Refused("The prompt was rejected by content moderation")
        if order.credits > self.world.credits:
            raise Refused("Insufficient credits", status=402)
        if self.world.full:
            raise Refused("The sandbox is full: POST /_sandbox/reset", status=500)

    def _job(self, order: Order, orders: Directives) -> Job:
        return Job(
            contract=CONTRACT,
            id=str(uuid.uuid4()),
            prompt=order.prompt,
            asked={**order.effective, "output_base": self.world.knobs.output_base, "cost": order.credits},
            directives=orders,
            accepted_at=self.world.clock(),
            credits=order.credits,
        )


def _accepted(job: Job) -> Response:
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


def _state(job: Job) -> dict[str, object]:
    """A job as the status route shows it."""
    shown: dict[str, object] = {"success": True, "task_id": job.id, "status": job.word}
    if job.phase is Phase.SUCCEEDED:
        if not job.directives.no_output:
            shown["video_url"] = f"{job.asked['output_base']}/{job.id}.mp4"
        shown["credits_charged"] = job.asked["cost"]
        published = uuid.uuid5(uuid.NAMESPACE_URL, job.id)
        shown["prompt_submission_id"] = str(published) if job.asked["prompt_directory_optin"] else None
    elif job.phase is Phase.FAILED:
        # A failed job is a successful question: HTTP 200 and success true, as on their Video Studio API.
        shown |= {"error_message": job.reason, "credits_refunded": job.asked["cost"]}
    return shown
