"""Links to outputs: until when each is good, when another is made, and what is deleted. And the file itself, for whoever plays it.

A link says in its own query until when it is good: `ksTime` in hexadecimal as Kling's, `Expires` in unix seconds as most stores.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from service.sandbox.jobs import Job

VIDEO = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"  # the beginning of a film, which is as much as a player needs to see that it is one


def good_until(job: Job) -> float | None:
    """When the link that is shown dies; None: as its contract says."""
    seconds = job.directives.link_seconds
    return None if seconds is None else job.link_at + seconds


def link(job: Job, folder: str = "") -> str:
    """A link of a contract that documents no life of its own."""
    plain = f"{job.asked['output_base']}/{folder}{job.id}.mp4"
    until = good_until(job)
    return plain if until is None else f"{plain}?Expires={int(until)}"


def grow_old(job: Job, now: float) -> None:
    """Somebody asks: what has died by now is renewed or deleted, as the job was told."""
    if job.finished_at is None:
        return
    purge_after = job.directives.purge_after
    if purge_after is not None and now >= job.finished_at + purge_after:
        purge(job, keep_record=job.directives.keeps_record)
    until = good_until(job)
    if until is not None and now >= int(until):
        job.link_at = now


def purge(job: Job, *, keep_record: bool) -> None:
    job.purged, job.forgotten = True, not keep_record


def play(request: Request, job: Job | None, now: float) -> Response:
    """What a player gets at a link."""
    if job is None or not job.shows_output:
        return Response("there is no such file", 404)
    stated, instant = request.query_params.get("ksTime"), request.query_params.get("Expires")
    try:
        until = int(stated, 16) if stated is not None else int(instant) if instant is not None else None
    except ValueError:
        return Response("the link is garbled", 403)
    if until is not None and now >= until:
        return Response("the link has expired", 403)
    return Response(VIDEO, media_type="video/mp4")
