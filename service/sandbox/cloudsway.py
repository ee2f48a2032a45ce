"""Cloudsway's side of Kling 3.0 turbo: two creates, one query, a push on every change. The package page says what is documented."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from service.sandbox import line
from service.sandbox.cloudsway_body import Order, Refused, read_frame_order, read_text_order
from service.sandbox.directives import Directives, UnknownDirective
from service.sandbox.jobs import Contract, Job, Phase
from service.sandbox.world import World

PREFIX = "/v1/ai/"
WORDS = {
    Phase.WAITING: "submitted",
    Phase.RUNNING: "processing",
    Phase.SUCCEEDED: "succeeded",
    Phase.FAILED: "failed",
}
UNITS_A_SECOND = {"720p": Decimal("0.8"), "1080p": Decimal("1.0")}  # Kling's price page
MOST_IDS = 20  # Kling's query page
TEXT_BODY, FRAME_BODY = 1 << 20, 70 << 20  # a first frame may be 50 MB, inline in base64
LINK_SECONDS = 30 * 24 * 3600
CODES = {400: 1201, 401: 1002, 403: 1103, 404: 1203, 429: 1302, 500: 5000, 503: 5001, 504: 5002}

Read = Callable[[Mapping[str, object]], Order]


def routes(world: World) -> list[Route]:
    played = Cloudsway(world)
    videos = PREFIX + "{endpoint_path}/kling/videos/"
    return [
        Route(videos + "text-to-video/kling-3.0-turbo", played.text_to_video, methods=["POST"]),
        Route(videos + "image-to-video/kling-3.0-turbo", played.image_to_video, methods=["POST"]),
        Route(PREFIX + "{endpoint_path}/kling/tasks", played.tasks, methods=["GET"]),
    ]


def strayed(status: int) -> Response:
    """No such path or method: Kling's 404, with 1202 for the method."""
    return fault(404, 1202 if status == 405 else 1203)


def fault(status: int, code: int | None = None, message: str = "The sandbox was told to say this") -> Response:
    """Kling's envelope; a status Kling does not use comes from the gateway before it, in plain text."""
    code = CODES.get(status) if code is None else code
    if code is None:
        return PlainTextResponse("upstream unavailable", status)
    return line.Json({"code": code, "message": message, "request_id": str(uuid.uuid4())}, status)


def item(job: Job) -> dict[str, object]:
    """A job as queries and pushes show it."""
    shown: dict[str, object] = {"id": job.id, "status": job.word, "message": job.reason}
    if job.external_id is not None:
        shown["external_id"] = job.external_id
    # Before the end both forms occur in the documents: no outputs at all, and an empty list.
    if job.phase is not Phase.WAITING:
        shown["outputs"] = [_output(job)] if job.phase is Phase.SUCCEEDED and not job.directives.no_output else []
        shown["billing"] = [_bill(job)] if job.phase.ended else []
    return shown | _times(job)


def _times(job: Job) -> dict[str, int]:
    return {"create_time": int(job.accepted_at * 1_000), "update_time": int(job.updated_at * 1_000)}


def _output(job: Job) -> dict[str, object]:
    expires = int(job.updated_at) + LINK_SECONDS
    link = f"{job.asked['output_base']}/{job.id}.mp4?ksTime={expires:x}"
    output: dict[str, object] = {"type": "video", "id": str(int(job.id) + 3), "url": link}
    if job.asked["watermark"]:
        output["watermark_url"] = link.replace(".mp4", "-watermark.mp4")
    # A video is never exactly as long as asked: the documented sample has "5.041" for 5.
    return output | {"duration": f"{job.asked['duration']}.041"}


def _bill(job: Job) -> dict[str, str]:
    amount = Decimal(0) if job.phase is Phase.FAILED else UNITS_A_SECOND[str(job.asked["resolution"])]
    amount *= int(str(job.asked["duration"]))
    return {"charge_type": "unit", "amount": format(amount.normalize(), "f"), "package_type": "video"}


CONTRACT = Contract(name="cloudsway", words=WORDS, first=Phase.WAITING, counts_by="external_id", pushed=item)


@dataclass(frozen=True, slots=True)
class Cloudsway:
    """The three routes."""

    world: World

    async def text_to_video(self, request: Request) -> Response:
        return await self._create(request, read_text_order, TEXT_BODY)

    async def image_to_video(self, request: Request) -> Response:
        return await self._create(request, read_frame_order, FRAME_BODY)

    async def _create(self, request: Request, read: Read, cap: int) -> Response:
        record = line.asked(request)
        record.contract, record.kind = CONTRACT.name, "create"
        try:
            self._authorize(request)
            order = read(await line.read_object(request, cap))
            record.ignored, record.told = order.ignored, order.effective
            orders = self.world.orders("creates", CONTRACT.name, order.prompt)
            if (early := await line.before(request, orders, fault)) is not None:
                return early
            self._admit(order, orders)
        except Refused as refused:
            return fault(refused.status, refused.code, str(refused))
        except (line.Unreadable, UnknownDirective) as error:
            return fault(getattr(error, "status", 400), 1201, str(error))
        job = self.world.accept(self._job(order, orders))
        record.job_id = job.id
        return await line.after(request, self.world, job, fault, _accepted(job))

    async def tasks(self, request: Request) -> Response:
        record = line.asked(request)
        record.contract, record.kind = CONTRACT.name, "query"
        try:
            self._authorize(request)
            jobs = self._wanted(request)
            orders = self.world.orders("queries", CONTRACT.name)
        except Refused as refused:
            return fault(refused.status, refused.code, str(refused))
        if (early := await line.before(request, orders, fault)) is not None:
            return early
        if orders.garbage:
            return line.garbage()
        # Newest first, whatever the order of the question: nothing promises that answers line up with it.
        shown = [] if orders.empty else [item(job) for job in reversed(jobs)]
        return line.Json({"code": 0, "message": "SUCCEED", "data": shown, "request_id": str(uuid.uuid4())})

    def _authorize(self, request: Request) -> None:
        key = line.credential(request)
        if key is None:
            raise Refused("Authorization is empty", status=401, code=1001)
        if not line.admitted(self.world, key):
            raise Refused("Authorization is invalid", status=401, code=1002)

    def _admit(self, order: Order, orders: Directives) -> None:
        """What only the account's state can refuse. Nothing is awaited between this and `accept`."""
        limit = self.world.knobs.concurrency_limit
        if orders.refuse:
            raise Refused("Failure to pass the risk control system", status=400, code=1301)
        taken = (CONTRACT.name, order.external_id or "") in self.world.by_external_id
        if taken and self.world.knobs.unique_external_id:
            raise Refused("external_task_id is already used", status=400, code=1201)
        if limit is not None and self.world.open[CONTRACT.name] >= limit:
            raise Refused("parallel task over resource pack limit", status=429, code=1303)
        if self.world.full:
            raise Refused("The sandbox is full: POST /_sandbox/reset", status=503, code=5001)

    def _job(self, order: Order, orders: Directives) -> Job:
        return Job(
            contract=CONTRACT,
            id=self.world.new_id(),
            prompt=order.prompt,
            asked={**order.effective, "output_base": self.world.knobs.output_base},
            directives=orders,
            accepted_at=self.world.clock(),
            external_id=order.external_id,
            callback_url=order.callback_url,
        )

    def _wanted(self, request: Request) -> list[Job]:
        """The jobs a query names, oldest first. Kling's query page: one of the two lists, never both."""
        ids = request.query_params.get("task_ids", "")
        external_ids = request.query_params.get("external_task_ids", "")
        if bool(ids) == bool(external_ids):
            raise Refused("exactly one of task_ids and external_task_ids is required")
        named = dict.fromkeys((ids or external_ids).split(","))
        if len(named) > MOST_IDS:
            raise Refused(f"at most {MOST_IDS} ids")
        if ids:
            jobs = [job for name in named if (job := self.world.find(CONTRACT.name, name)) is not None]
        else:
            jobs = [job for name in named for job in self.world.by_external_id.get((CONTRACT.name, name), [])]
        self.world.note_query(jobs, "id" if ids else "external_id")
        return sorted(jobs, key=lambda job: int(job.id))


def _accepted(job: Job) -> Response:
    """The reply to a create: the job as it was at that moment, whatever has become of it since."""
    shown: dict[str, object] = {"id": job.id, "status": WORDS[Phase.WAITING], "message": ""}
    if job.external_id is not None:
        shown["external_id"] = job.external_id
    made = int(job.accepted_at * 1_000)
    shown |= {"create_time": made, "update_time": made}
    return line.Json({"code": 0, "message": "SUCCEED", "data": shown, "request_id": str(uuid.uuid4())})
