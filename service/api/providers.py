"""/v1/providers: the contracts there are, what their models take, and whether an account is there to use them."""

from __future__ import annotations

from starlette.responses import Response

from service.api.call import Call, listing, reply
from service.api.context import Context
from service.api.problems import Problem
from service.api.query import Query
from service.core.request import shown
from service.providers.base import Provider


async def page(call: Call) -> Response:
    """GET /v1/providers"""
    Query(call.request, ()).settle()
    views = [view(provider, call.context) for provider in call.context.providers.values()]
    return reply(listing(views, has_more=False, next=None))


async def one(call: Call) -> Response:
    """GET /v1/providers/{name}"""
    Query(call.request, ()).settle()
    name = str(call.request.path_params["name"])
    provider = call.context.providers.get(name)
    if provider is None:
        known = ", ".join(call.context.providers)
        raise Problem("not_found", f'There is no provider "{shown(name)}". There is {known}.')
    return reply(view(provider, call.context))


def view(provider: Provider, context: Context) -> dict[str, object]:
    traits = provider.traits
    accounts: list[dict[str, object]] = [
        {"name": name, "enabled": True, "callbacks": account.callbacks, "pushes": account.pushes}
        for name, account in context.accounts.items()
        if account.provider.name == provider.name
    ]
    off = [name for name, of in context.disabled.items() if of == provider.name]
    accounts += [{"name": name, "enabled": False, "callbacks": None, "pushes": False} for name in off]
    return {
        "object": "provider",
        "name": provider.name,
        "models": [
            {"name": model.name, "inputs": sorted(model.inputs), "provider_options": sorted(model.options)}
            for model in provider.models.values()
        ],
        "traits": {
            "callbacks": traits.callbacks,
            "batch": traits.batch,
            "look_up": traits.look_up,
            "resend": traits.resend,
            "expected_seconds": traits.expected_seconds,
        },
        "accounts": accounts,
    }
