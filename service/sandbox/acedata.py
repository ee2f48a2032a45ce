"""AceData's side of Kling: a create that blocks unless told not to, queries by POST, one push at the end. The package page says
what is documented.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from service.sandbox import line
from service.sandbox.accounts import Account, Turned
from service.sandbox.acedata_body import read_order
from service.sandbox.acedata_query import Wanted, read_wanted
from service.sandbox.acedata_record import ended, pushed, record, video_id
from service.sandbox.desk import Desk
from service.sandbox.jobs import Contract, Found, Job, Phase
from service.sandbox.order import Order, Refused
from service.sandbox.upload import MULTIPART_MARGIN, read_file
from service.sandbox.world import World

VIDEOS, TASKS, FILES = "/kling/videos", "/kling/tasks", "/files/upload"
PREFIXES = ("/kling/", "/files/")
# Only the word of success is theirs: a record has no status, so the others are seen in the ledger alone.
WORDS = {Phase.WAITING: "waiting", Phase.RUNNING: "running", Phase.SUCCEEDED: "succeed", Phase.FAILED: "failed"}
JSON_BODY = 1 << 20
MOST_FILE = 25 << 20
CODES = {
    400: "bad_request", 401: "invalid_token", 403: "forbidden", 404: "no_api", 429: "too_many_requests",
    500: "api_error", 504: "timeout",
}  # fmt: skip
TURNED = {
    Turned.NO_KEY: (400, "no_token", "No token was sent"),
    Turned.WRONG_KEY: (401, "invalid_token", "The token is invalid"),
    Turned.CONTENT: (403, "forbidden", "The prompt does not pass moderation"),
    Turned.ARREARS: (403, "used_up", "Your balance is used up"),
    Turned.TOO_FAST: (429, "too_many_requests", "Too many requests"),
    Turned.TOO_MANY: (429, "too_many_requests", "Too many tasks in flight"),
    Turned.FULL: (500, "api_error", "The sandbox is full: POST /_sandbox/reset"),
}

CONTRACT = Contract(
    name="acedata", words=WORDS, first=Phase.WAITING, counts_by="prompt", pushed=pushed, pushes_once=True
)


def routes(world: World) -> list[Route]:
    played = AceData(world)
    return [
        Route(VIDEOS, played.videos, methods=["POST"]),
        Route(TASKS, played.tasks, methods=["POST"]),
        Route(FILES, played.upload, methods=["POST"]),
    ]


def strayed(status: int) -> Response:
    return fault(404, "no_api", "There is no such API")


def fault(status: int, code: str | None = None, message: str = line.TOLD, job: Job | None = None) -> Response:
    """An error with its code and trace id; a status they do not use comes from a gateway, in plain text."""
    code = CODES.get(status) if code is None else code
    if code is None:
        return PlainTextResponse("upstream unavailable", status)
    body: dict[str, object] = {"error": {"code": code, "message": message}, "trace_id": str(uuid.uuid4())}
    if job is not None and job.directives.names_task:
        body["task_id"] = job.id
    return line.Json(body, status)


class AceData:
    """The three routes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.desk = Desk(world=world, contract=CONTRACT, fault=fault, words=TURNED, unreadable="bad_request")

    async def videos(self, request: Request) -> Response:
        return await self.desk.create(request, self._order, JSON_BODY, self._answer)

    def _order(self, body: Mapping[str, object]) -> Order:
        order = read_order(body, self.world.knobs.retired_models)
        if "video_id" in order.effective and not self._made(order.effective["video_id"]):
            raise Refused("video_id names no video", code="bad_request")
        return order

    def _made(self, wanted: object) -> bool:
        ours = (job for job in self.world.jobs.values() if job.contract is CONTRACT)
        return any(job.phase is Phase.SUCCEEDED and video_id(job) == wanted for job in ours)

    async def _answer(self, request: Request, job: Job) -> Response:
        """The id at once, or the result once there is one: the connection stays open for as long as the job takes."""
        started = {"task_id": job.id}
        if job.callback_url is not None or job.asked.get("async") is True:
            return line.Json(started)
        patience = job.asked.get("timeout")
        over = await line.until(
            request,
            self.world,
            lambda: job.phase.ended or self.world.closed or job.id not in self.world.jobs,
            None if patience is None else float(str(patience)),
        )
        if not over:
            return line.Json(started)
        if not job.phase.ended:
            return fault(500, message="The job was forgotten", job=job)
        # Ours: that a job which failed while its client waited answers 500 with the body a push would have.
        return line.Json(pushed(job), 500) if job.phase is Phase.FAILED else line.Json(ended(job))

    async def tasks(self, request: Request) -> Response:
        wanted, total = Wanted(), 0

        async def find(account: Account) -> tuple[Sequence[Job], Found]:
            nonlocal wanted, total
            wanted = read_wanted(await line.read_object(request, JSON_BODY))
            jobs, total = self._found(wanted, account)
            return jobs, "filter" if wanted.ids is None else "id"

        def show(jobs: Sequence[Job]) -> Response:
            if wanted.one:
                # What an unknown id answers is not documented. Ours: nothing, as if it were a record.
                return line.Json(record(jobs[0]) if jobs else {})
            return line.Json({"items": [record(job) for job in jobs], "count": total if jobs else 0})

        return await self.desk.query(request, find, show)

    def _found(self, wanted: Wanted, account: Account) -> tuple[list[Job], int]:
        """The jobs of this page, newest first whatever was asked, and how many there are on all pages."""
        if wanted.ids is not None:
            jobs = [job for job_id in wanted.ids for job in self.desk.own(account, job_id)]
            return sorted(jobs, key=lambda job: job.accepted_at, reverse=True), len(jobs)
        own = (job for job in reversed(self.world.jobs.values()) if job.contract is CONTRACT)
        jobs = [job for job in own if job.account is account and wanted.since <= job.accepted_at <= wanted.until]
        return jobs[wanted.offset : wanted.offset + wanted.limit], len(jobs)

    async def upload(self, request: Request) -> Response:
        return await self.desk.upload(request, MOST_FILE + MULTIPART_MARGIN, self._stored)

    def _stored(self, content_type: str, body: bytes) -> Response:
        content = read_file(content_type, body, MOST_FILE, "bad_request")
        if not content:
            raise Refused("the file is empty", code="bad_request")
        # The reply is that of their platform's own upload route; the one of this route is not documented.
        return line.Json({"file_url": f"{self.world.knobs.output_base}/files/{uuid.uuid4().hex}"})
