"""/openai/v1/models: what may stand as `model`, of the providers that have an account here."""

from __future__ import annotations

from starlette.responses import Response

from service.api.call import Call, reply
from service.api.problems import Problem
from service.api.query import Query
from service.core.request import shown


async def page(call: Call) -> Response:
    """GET /openai/v1/models"""
    Query(call.request, ()).settle()
    return reply({"object": "list", "data": [_view(*found) for found in _models(call)]})


async def one(call: Call) -> Response:
    """GET /openai/v1/models/{model}: its name holds a slash."""
    Query(call.request, ()).settle()
    wanted = str(call.request.path_params["model"])
    for provider, model in _models(call):
        if f"{provider}/{model}" == wanted:
            return reply(_view(provider, model))
    detail = f'There is no model "{shown(wanted)}". GET /openai/v1/models lists those there are.'
    raise Problem("not_found", detail)


def _models(call: Call) -> list[tuple[str, str]]:
    contracts = {one.provider.name: one.provider for one in call.context.accounts.values()}
    return [(name, model) for name, contract in contracts.items() for model in contract.models]


def _view(provider: str, model: str) -> dict[str, object]:
    # When a model came to be is not known; the SDK's type wants a number.
    return {"id": f"{provider}/{model}", "object": "model", "created": 0, "owned_by": provider}
