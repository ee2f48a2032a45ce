"""/v1/providers: the contracts there are, what their models take, and whether an account is there to use them."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from service.api.call import Call, listing, reply
from service.api.context import Context
from service.api.problems import Problem
from service.api.query import Query
from service.core.care import holds_of
from service.core.events import iso_or_none
from service.core.request import shown
from service.core.schedule import Breaker
from service.pipeline.durations import Told
from service.providers import catalogue
from service.providers.base import Provider, Uploader
from storage import lanes
from storage.database import Connection
from storage.records import Lane, LaneKind


async def page(call: Call) -> Response:
    """GET /v1/providers"""
    Query(call.request, ()).settle()
    health = await _lanes(call.context)
    views = [view(provider, call.context, health) for provider in call.context.providers.values()]
    return reply(listing(views, has_more=False, next=None))


async def one(call: Call) -> Response:
    """GET /v1/providers/{name}"""
    Query(call.request, ()).settle()
    name = str(call.request.path_params["name"])
    provider = call.context.providers.get(name)
    if provider is None:
        known = ", ".join(call.context.providers)
        raise Problem("not_found", f'There is no provider "{shown(name)}". There is {known}.')
    return reply(view(provider, call.context, await _lanes(call.context)))


async def _lanes(context: Context) -> dict[str, Lane]:
    """The lanes of the accounts: what is known of their health."""

    async def unit(tx: Connection) -> dict[str, Lane]:
        found = [await lanes.get(tx, LaneKind.ACCOUNT, name) for name in context.accounts]
        return {lane.key: lane for lane in found if lane is not None}

    return await context.database.read(unit)


def view(provider: Provider, context: Context, health: Mapping[str, Lane]) -> dict[str, object]:
    traits = provider.traits
    accounts: list[dict[str, object]] = [
        {
            "name": name,
            "enabled": True,
            "callbacks": account.callbacks,
            "pushes": account.pushes,
            "unit_price": account.unit_price,
            "rate": account.rate,
            "max_open_tasks": account.max_open_tasks,
            "expected_seconds": account.expected_seconds,
            "durations": [_duration(told) for told in context.learned(name)],
            "health": {
                **_health(health.get(name), context.clock()),
                "unknown_vocabulary": context.recorder.unknown_vocabulary[name],
            },
        }
        for name, account in context.accounts.items()
        if account.provider.name == provider.name
    ]
    off = [name for name, of in context.disabled.items() if of == provider.name]
    accounts += [{"name": name, "enabled": False, "callbacks": None, "pushes": False} for name in off]
    return {
        "object": "provider",
        "name": provider.name,
        "models": [
            {
                "name": model.name,
                "inputs": sorted(model.inputs),
                "provider_options": sorted(model.options),
                "input_schema": catalogue.input_schema(model),
                "provider_options_schema": catalogue.options_schema(model),
                "rules": list(model.rules),
                "prices": catalogue.price_list(model),
            }
            for model in provider.models.values()
        ],
        "traits": {
            "callbacks": traits.callbacks,
            "batch": traits.batch,
            "look_up": traits.look_up,
            "resend": traits.resend,
            "uploads": isinstance(provider, Uploader),
            "expected_seconds": traits.expected_seconds,
        },
        "accounts": accounts,
    }


def _duration(told: Told) -> dict[str, object]:
    """How long one kind of job takes here, as learned; `duration` and `level` are null for the model as a whole."""
    return {
        "model": told.kind.model,
        "duration": told.kind.seconds or None,
        "level": told.kind.level or None,
        "jobs": told.jobs,
        "p50": round(told.p50, 1),
        "p90": round(told.p90, 1),
    }


def _health(lane: Lane | None, now: int) -> dict[str, object]:
    """Whether the account may be asked just now, and why not."""
    probe_at = Breaker.load(lane.breaker).next_probe_at if lane is not None else None
    holds = holds_of(lane)
    buys, asks = holds.submits.held(now), holds.queries.held(now)
    return {
        "breaker": "closed" if probe_at is None else "open",
        "next_probe_at": iso_or_none(probe_at),
        "held_until": iso_or_none(holds.submits.until) if buys else None,
        "held_reason": holds.submits.reason if buys else None,
        "refused_since": iso_or_none(holds.submits.refused_since),
        "queries_held_until": iso_or_none(holds.queries.until) if asks else None,
        "queries_held_reason": holds.queries.reason if asks else None,
    }
