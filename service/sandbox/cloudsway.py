"""Cloudsway's side of Kling 3.0 turbo: two creates, one query, a push on every change. The package page says what is documented."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from decimal import Decimal

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from service.sandbox import line, outputs
from service.sandbox.accounts import Account, Turned
from service.sandbox.cloudsway_body import read_frame_order, read_text_order
from service.sandbox.desk import Desk
from service.sandbox.jobs import Contract, Found, Job, Phase
from service.sandbox.order import Refused
from service.sandbox.world import World

PREFIXES = ("/v1/ai/",)
WORDS = {
    Phase.WAITING: "submitted",
    Phase.RUNNING: "processing",
    Phase.SUCCEEDED: "succeeded",
    Phase.FAILED: "failed",
}
MOST_IDS = 20  # Kling's query page
TEXT_BODY, FRAME_BODY = 1 << 20, 70 << 20  # a first frame may be 50 MB, inline in base64
LINK_SECONDS = 30 * 24 * 3600
CODES = {400: 1201, 401: 1002, 403: 1103, 404: 1203, 429: 1302, 500: 5000, 503: 5001, 504: 5002}
TURNED = {
    Turned.NO_KEY: (401, "1001", "Authorization is empty"),
    Turned.WRONG_KEY: (401, "1002", "Authorization is invalid"),
    Turned.CONTENT: (400, "1301", "Failure to pass the risk control system"),
    Turned.TAKEN: (400, "1201", "external_task_id is already used"),
    Turned.ARREARS: (429, "1101", "Account in arrears"),
    Turned.TOO_FAST: (429, "1302", "API request too fast"),
    Turned.TOO_MANY: (429, "1303", "parallel task over resource pack limit"),
    Turned.FULL: (503, "5001", "The sandbox is full: POST /_sandbox/reset"),
}


def routes(world: World) -> list[Route]:
    played = Cloudsway(world)
    videos = PREFIXES[0] + "{endpoint_path}/kling/videos/"
    return [
        Route(videos + "text-to-video/kling-3.0-turbo", played.text_to_video, methods=["POST"]),
        Route(videos + "image-to-video/kling-3.0-turbo", played.image_to_video, methods=["POST"]),
        Route(PREFIXES[0] + "{endpoint_path}/kling/tasks", played.tasks, methods=["GET"]),
    ]


def strayed(status: int) -> Response:
    """No such path or method: Kling's 404, with 1202 for the method."""
    return fault(404, "1202" if status == 405 else "1203")


def fault(status: int, code: str | None = None, message: str = line.TOLD, job: Job | None = None) -> Response:
    """Kling's envelope; a status Kling does not use comes from the gateway before it, in plain text."""
    number = CODES.get(status) if code is None or not code.isdigit() else int(code)
    if number is None:
        return PlainTextResponse("upstream unavailable", status)
    return line.Json({"code": number, "message": message, "request_id": str(uuid.uuid4())}, status)


def item(job: Job) -> dict[str, object]:
    """A job as queries and pushes show it."""
    shown: dict[str, object] = {"id": job.id, "status": job.word, "message": job.reason}
    if job.external_id is not None:
        shown["external_id"] = job.external_id
    # Before the end both forms occur in the documents: no outputs at all, and an empty list.
    if job.phase is not Phase.WAITING:
        shown["outputs"] = [_output(job)] if job.shows_output else []
        shown["billing"] = [_bill(job)] if job.phase.ended else []
    return shown | _times(job)


def _times(job: Job) -> dict[str, int]:
    return {"create_time": int(job.accepted_at * 1_000), "update_time": int(job.updated_at * 1_000)}


def _output(job: Job) -> dict[str, object]:
    expires = int(outputs.good_until(job) or job.updated_at + LINK_SECONDS)
    link = f"{job.asked['output_base']}/{job.id}.mp4?ksTime={expires:x}"
    output: dict[str, object] = {"type": "video", "id": str(int(job.id) + 3), "url": link}
    if job.asked["watermark"]:
        output["watermark_url"] = link.replace(".mp4", "-watermark.mp4")
    # A video is never exactly as long as asked: the documented sample has "5.041" for 5.
    return output | {"duration": f"{job.asked['duration']}.041"}


def _bill(job: Job) -> dict[str, str]:
    # What a failed job costs is "0", in a bill like any other.
    return {"charge_type": "unit", "amount": plain(job.credits), "package_type": "video"}


def plain(amount: Decimal) -> str:
    """`5`, `5.6`: no trailing zeros and no exponent."""
    return format(amount.normalize(), "f") if amount else "0"


CONTRACT = Contract(
    name="cloudsway", words=WORDS, first=Phase.WAITING, counts_by="external_id", pushed=item, signs=True
)


class Cloudsway:
    """The three routes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.desk = Desk(
            world=world,
            contract=CONTRACT,
            fault=fault,
            words=TURNED,
            unreadable="1201",
            new_id=world.new_id,
        )

    async def text_to_video(self, request: Request) -> Response:
        return await self.desk.create(request, read_text_order, TEXT_BODY, _accepted)

    async def image_to_video(self, request: Request) -> Response:
        return await self.desk.create(request, read_frame_order, FRAME_BODY, _accepted)

    async def tasks(self, request: Request) -> Response:
        async def find(account: Account) -> tuple[Sequence[Job], Found]:
            return self._wanted(request, account)

        return await self.desk.query(request, find, _listed)

    def _wanted(self, request: Request, account: Account) -> tuple[list[Job], Found]:
        """The jobs a query names. Kling's query page: one of the two lists, never both."""
        ids = request.query_params.get("task_ids", "")
        external_ids = request.query_params.get("external_task_ids", "")
        if bool(ids) == bool(external_ids):
            raise Refused("exactly one of task_ids and external_task_ids is required")
        named = dict.fromkeys((ids or external_ids).split(","))
        if len(named) > MOST_IDS:
            raise Refused(f"at most {MOST_IDS} ids")
        if ids:
            return [job for name in named for job in self.desk.own(account, name)], "id"
        known = self.world.by_external_id
        jobs = [job for name in named for job in known.get((CONTRACT.name, name), []) if job.account is account]
        return jobs, "external_id"


def _listed(jobs: Sequence[Job]) -> Response:
    # Newest first, whatever the order of the question: nothing promises that answers line up with it.
    shown = [item(job) for job in sorted(jobs, key=lambda job: int(job.id), reverse=True)]
    return line.Json({"code": 0, "message": "SUCCEED", "data": shown, "request_id": str(uuid.uuid4())})


async def _accepted(_: Request, job: Job) -> Response:
    """The reply to a create: the job as it was at that moment, whatever has become of it since."""
    shown: dict[str, object] = {"id": job.id, "status": WORDS[Phase.WAITING], "message": ""}
    if job.external_id is not None:
        shown["external_id"] = job.external_id
    made = int(job.accepted_at * 1_000)
    shown |= {"create_time": made, "update_time": made}
    return line.Json({"code": 0, "message": "SUCCEED", "data": shown, "request_id": str(uuid.uuid4())})
