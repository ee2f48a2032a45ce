"""How AceData shows a job: the bare record of /kling/tasks, the end told to whoever waited or is pushed."""

from __future__ import annotations

import uuid

from service.sandbox import outputs
from service.sandbox.jobs import Job, Phase


def made_from(job: Job, purpose: str) -> uuid.UUID:
    """An id that belongs to the job and stays the same whenever it is shown."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"{job.id}/{purpose}")


def ended(job: Job) -> dict[str, object]:
    """The result, as the record holds it: success with the video, or the error."""
    if job.phase is Phase.FAILED:
        error = {"code": job.directives.code or "api_error", "message": job.reason}
        trace = str(made_from(job, "trace"))
        return {"success": False, "task_id": job.id, "trace_id": trace, "error": error}
    shown: dict[str, object] = {"success": True, "video_id": video_id(job), "state": job.word, "task_id": job.id}
    # A video is never exactly as long as asked, and its seconds are text.
    shown["duration"] = f"{job.asked['duration']}.041"
    if job.shows_output:
        shown["video_url"] = outputs.link(job, "kling/")
    return shown


def pushed(job: Job) -> dict[str, object]:
    """The one push: the result and the trace id."""
    return ended(job) | {"trace_id": str(made_from(job, "trace"))}


def record(job: Job) -> dict[str, object]:
    """The bare record. There is no status in it, times are float seconds, and the request is echoed with its callback URL."""
    shown: dict[str, object] = {
        "_id": made_from(job, "_id").hex[:24],
        "id": job.id,
        "api_id": str(made_from(job, "api")),
        "application_id": str(made_from(job, "application")),
        "credential_id": str(uuid.uuid5(uuid.NAMESPACE_URL, job.account.label)),
        "user_id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{job.account.label}/user")),
        "trace_id": str(made_from(job, "trace")),
        "job_id": str(made_from(job, "work")),
        "type": "videos",
        "created_at": job.accepted_at,
        "request": job.sent,
    }
    began = next((change.at for change in job.changes if change.word != job.contract.words[Phase.WAITING]), None)
    if began is not None:
        shown["started_at"] = began
    if job.finished_at is not None and job.phase.ended:
        elapsed = job.finished_at - (job.accepted_at if began is None else began)
        return shown | {"finished_at": job.finished_at, "elapsed": elapsed, "response": ended(job)}
    # Before the end both forms occur: no response at all, and an empty one.
    if began is not None:
        shown["response"] = {"state": job.word} if job.directives.unknown_word else {}
    return shown


def video_id(job: Job) -> str:
    """18 digits, as Kling's."""
    return str(891_000_000_000_000_000 + made_from(job, "video").int % 1_000_000_000_000_000)
