"""The three generations of API in One's replies. Its pages contradict each other, so a client must read all of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from service.sandbox import outputs
from service.sandbox.jobs import Job, Phase

WORDS: Mapping[str, Mapping[Phase, str]] = {
    "early": {
        Phase.WAITING: "pending",
        Phase.RUNNING: "processing",
        Phase.SUCCEEDED: "completed",
        Phase.FAILED: "failed",
    },
    "later": {
        Phase.WAITING: "PENDING",
        Phase.RUNNING: "IN_PROGRESS",
        Phase.SUCCEEDED: "SUCCESS",
        Phase.FAILED: "FAILED",
    },
    "newest": {
        Phase.WAITING: "QUEUED",
        Phase.RUNNING: "RUNNING",
        Phase.SUCCEEDED: "COMPLETED",
        Phase.FAILED: "ERROR",
    },
}
KINDS = {400: "invalid_request", 401: "auth", 402: "billing", 429: "rate_limit"}


def shown(job: Job, generation: str) -> dict[str, object]:
    """A job as this generation shows it. The first reply to a create is the same body, with nothing in it yet."""
    word = WORDS[generation][job.phase]
    if job.word not in job.contract.words.values():
        word = job.word  # one that nobody knows
    match generation:
        case "early":
            made = datetime.fromtimestamp(job.accepted_at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            return {"id": job.id, "status": word, "model": "kling-3", "created_at": made} | _early(job)
        case "later":
            return _enveloped({"task_id": job.id, "status": word} | _later(job))
        case _:
            return _enveloped({"id": job.id, "state": word} | _newest(job))


def error(generation: str, status: int, message: str) -> dict[str, object]:
    """A refusal as this generation words it. Only the early one is documented."""
    if generation == "early":
        return {"error": {"code": status, "message": message, "type": KINDS.get(status, "server")}}
    return {"code": status, "message": message, "data": None}


def _enveloped(told: Mapping[str, object]) -> dict[str, object]:
    return {"code": 200, "message": "success", "data": told}


def _link(job: Job) -> str | None:
    return outputs.link(job) if job.shows_output else None


def _early(job: Job) -> dict[str, object]:
    if job.phase is Phase.FAILED:
        return {"error": {"code": 500, "message": job.reason, "type": "generation"}}
    return {"output": {"video_url": link}} if (link := _link(job)) else {}


def _later(job: Job) -> dict[str, object]:
    if job.phase is Phase.FAILED:
        return {"fail_reason": job.reason}
    return {"output": {"video_url": link}} if (link := _link(job)) else {}


def _newest(job: Job) -> dict[str, object]:
    if job.phase is Phase.FAILED:
        return {"error": {"message": job.reason}}
    return {"results": [{"url": link}]} if (link := _link(job)) else {"results": []}
