"""How each case must end. `Ends` is what the delivery says after its first attempt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

STEP = 600  # the endpoints' own retry schedule: one attempt, and the next is far away
HOUR, DAY = 3600, 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """`wait`: seconds to the next attempt, at least and at most. `requests`: how many the subscriber saw."""

    status: str
    code: int | None
    error: str | None
    wait: tuple[float, float] | None = None
    requests: int = 1
    seconds: tuple[float, float] = (0.0, 12.0)  # of the attempt
    endpoint: str = "active"


def delivered(code: int = 204, **more: object) -> Ends:
    return Ends(status="delivered", code=code, error=None, **more)  # type: ignore[arg-type]


def again(code: int | None, error: str, wait: float = STEP, **more: object) -> Ends:
    """Tried again after the schedule's wait, or a longer one that was asked for; jitter only adds."""
    return Ends(status="pending", code=code, error=error, wait=(wait - 2, wait * 1.1 + 15), **more)  # type: ignore[arg-type]


def refused(**more: object) -> Ends:
    """Our own guard: nothing was called, and it is not tried again."""
    return Ends(status="exhausted", code=None, error="blocked", requests=0, **more)  # type: ignore[arg-type]


# Whoever is not cut off by the limit that is meant meets a later one, or none: each upper bound lies before that, and leaves a machine
# that has other things to do seconds of room.
WHOLE = (14.8, 22.0)
CONNECTED = (4.5, 12.0)
RESOLVED = (2.8, 4.8)
NO_CALL = {"requests": 0}

TABLE: Mapping[str, Ends] = {
    "ok": delivered(),
    "bye": delivered(),
    "reset": again(None, "reset"),
    "reset-in-head": again(None, "reset"),
    "reset-in-body": delivered(200),
    "close": again(None, "reset"),
    "hang": again(None, "timeout", seconds=WHOLE),
    "hang-in-body": delivered(200, seconds=WHOLE),
    "drip-head": again(None, "timeout", seconds=WHOLE),
    "drip-body": delivered(200, seconds=WHOLE),
    "drip-error": again(500, "http", seconds=WHOLE),
    "late": delivered(204, seconds=(12.9, 15.0)),
    "big-body": delivered(200),
    "endless-body": delivered(200),
    "big-head": again(None, "http"),
    "long-header": again(None, "http"),
    "continue-flood": again(None, "http"),
    "big-trailer": delivered(200),
    "gzip-bomb": delivered(200),
    "redirect-301": again(301, "http"),
    "redirect-302": again(302, "http"),
    "redirect-307": again(307, "http"),
    "redirect-308": again(308, "http"),
    "gone": Ends(status="canceled", code=410, error="http", endpoint="disabled"),
    "error": again(500, "http"),
    "busy": again(503, "http", 1200),
    "wait-seconds": again(429, "http", 1200),
    "wait-date": again(429, "http", HOUR),
    "wait-past": again(429, "http"),
    "wait-years": again(429, "http", DAY),
    "wait-1e9": again(429, "http"),
    "wait-negative": again(429, "http"),
    "wait-nan": again(429, "http"),
    "wait-digits": again(429, "http"),
    "wait-empty": again(429, "http"),
    "wait-two": again(429, "http", 1200),
    "chunk-garbage": delivered(200),
    "length-negative": again(None, "http"),
    "length-twice": again(None, "http"),
    "length-and-chunks": again(None, "http"),
    "status-line": again(None, "http"),
    "status-999": again(999, "http"),
    "status-099": again(99, "http"),
    "status-2000": again(None, "http"),
    "nul-in-header": again(None, "http"),
    "http-0.9": again(None, "http"),
    "http-2": again(None, "http"),
    "upgrade": again(101, "http"),
    "noise": again(None, "http"),
    "refuse": again(None, "refused", **NO_CALL),
    "unanswered": again(None, "timeout", seconds=CONNECTED, **NO_CALL),
    "silent": again(None, "timeout", seconds=WHOLE, **NO_CALL),
    "tls-silent": again(None, "timeout", seconds=CONNECTED, **NO_CALL),
    "tls-noise": again(None, "tls", **NO_CALL),
    "tls-ok": delivered(),
    "tls-other-name": again(None, "tls", **NO_CALL),
    "tls-expired": again(None, "tls", **NO_CALL),
    "tls-self-signed": again(None, "tls", **NO_CALL),
    "name-unknown": again(None, "dns", **NO_CALL),
    "name-unanswered": again(None, "dns", seconds=RESOLVED, **NO_CALL),
    "name-metadata": refused(),
    "name-mixed": refused(),
    "name-mapped": refused(),
    "name-nat64": refused(),
    "name-private": refused(),
    "name-zone": refused(),
    "name-plain-http": refused(),
    "name-of-another": again(None, "tls", **NO_CALL),
    "rebind-first": delivered(),
    "rebind-then": refused(),
}

# These wait, so they wait together; the others are measured one by one.
TOGETHER = frozenset(name for name, ends in TABLE.items() if ends.seconds[0] > 0)


def named(tls_port: int) -> Mapping[str, str]:
    """The cases whose trick is the name, all at the port with the good certificate."""
    at = f"hostile.test:{tls_port}"
    return {
        "name-unknown": f"https://nobody.{at}/ok",
        "name-unanswered": f"https://hole.test:{tls_port}/ok",
        "name-metadata": f"https://metadata.{at}/ok",
        "name-mixed": f"https://mixed.{at}/ok",
        "name-mapped": f"https://mapped.{at}/ok",
        "name-nat64": f"https://nat64.{at}/ok",
        "name-private": f"https://private.{at}/ok",
        "name-zone": f"https://zone.{at}/ok",
        "name-plain-http": f"http://metadata.{at}/ok",
        "name-of-another": f"https://elsewhere.test:{tls_port}/ok",  # the address of one.hostile.test, another certificate
        "rebind-first": f"https://rebind.{at}/bye",
        "rebind-then": f"https://rebind.{at}/bye",
    }
