"""How an account is shown: what it is, what it may do now and why not, how much of it is used."""

from __future__ import annotations

from service.api.context import Context
from service.core.care import Cause, care_of, holds_of, pauses
from service.core.events import iso_or_none, pause_view
from service.core.holding import Hold, Trouble
from service.core.schedule import Breaker
from service.core.times import iso
from service.pipeline.accounts import AccountDesk
from service.pipeline.durations import Told
from service.pipeline.figures import Figures, Pushes


def view(account: AccountDesk, found: Figures, context: Context) -> dict[str, object]:
    """An account in use. `status`: draining is paused by a person while jobs are still open at the provider."""
    name, lane, now = account.account.name, found.lane, context.clock()
    why, holds, care = pauses(lane), holds_of(lane), care_of(lane)
    probe_at = Breaker.load(lane.breaker).next_probe_at if lane is not None else None
    status = "paused" if why else "active"
    if Cause.PERSON in why and found.open_at_provider:
        status = "draining"
    return {
        **_always(name, account.provider.name, context),
        "enabled": True,
        "status": status,
        "paused": [pause_view(cause, why[cause]) for cause in sorted(why)],
        "models": list(account.provider.models),
        "rate": account.rate,
        "open_tasks": found.open_at_provider,
        "max_open_tasks": account.max_open_tasks,
        "queued": found.queued,
        "next_due_at": iso_or_none(found.next_due_at),
        "breaker": {"state": "closed" if probe_at is None else "open", "next_probe_at": iso_or_none(probe_at)},
        "held": {"submits": _hold(holds.submits, now), "queries": _hold(holds.queries, now)},
        "last_error": _trouble(holds.trouble),
        "callbacks": {
            "mode": account.callbacks,
            "pushes": account.pushes,
            "missing_since": iso_or_none(care.silent_since),
            "day": _pushes(found.day) if account.pushes else None,
            "week": _pushes(found.week) if account.pushes else None,
        },
        "durations": [_duration(told) for told in context.learned(name)],
    }


def off(name: str, provider: str, context: Context) -> dict[str, object]:
    """An account that is switched off: it has no figures."""
    return {**_always(name, provider, context), "enabled": False, "status": "disabled", "paused": []}


def _always(name: str, provider: str, context: Context) -> dict[str, object]:
    return {
        "name": name,
        "object": "account",
        "provider": provider,
        "links": {"self": f"{context.base}/v1/accounts/{name}"},
    }


def _hold(hold: Hold, now: int) -> dict[str, object] | None:
    """What the provider asked us to wait with, and how long."""
    return {"until": iso(hold.until), "reason": hold.reason} if hold.held(now) else None


def _trouble(trouble: Trouble | None) -> dict[str, object] | None:
    return {"at": iso(trouble.at), "code": trouble.code, "message": trouble.message} if trouble is not None else None


def _pushes(pushes: Pushes) -> dict[str, object]:
    return {"since": iso(pushes.since), "expected": pushes.expected, "seen": pushes.seen}


def _duration(told: Told) -> dict[str, object]:
    """How long one kind of job takes; `duration` and `level` are null for the model as a whole."""
    return {
        "model": told.kind.model,
        "duration": told.kind.seconds or None,
        "level": told.kind.level or None,
        "jobs": told.jobs,
        "p10": round(told.p10, 1),
        "p50": round(told.p50, 1),
        "p90": round(told.p90, 1),
    }
