"""GET /metrics: how this replica does, for Prometheus. For whoever runs the installation: an admin's key, or METRICS_TOKEN."""

from __future__ import annotations

import hmac

from starlette.requests import Request
from starlette.responses import Response

from service.api import auth
from service.api.context import Context
from service.pipeline.gauges import Gauges
from service.telemetry import metrics
from service.telemetry.context import whose


class Metrics:
    """The open route that is not open: asked without a key of the installation's own it says nothing."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._token = context.metrics_token.encode() if context.metrics_token else None
        self._gauges = Gauges(context.database, context.accounts, clock=context.clock)

    async def page(self, request: Request) -> Response:
        """GET /metrics"""
        await self._admit(request)
        await self._gauges.refresh()
        return Response(metrics.text(), headers={"cache-control": "no-store"}, media_type=metrics.CONTENT_TYPE)

    async def _admit(self, request: Request) -> None:
        if self._has_token(request):
            return
        key = await auth.identify(request.scope, self._context)
        whose(key.id, key.project_id)
        auth.demand(key, auth.ADMIN)

    def _has_token(self, request: Request) -> bool:
        stated = [value for name, value in request.scope["headers"] if name == b"authorization"]
        if self._token is None or len(stated) != 1 or stated[0][:7].lower() != b"bearer ":
            return False
        return hmac.compare_digest(stated[0][7:].strip(b" "), self._token)
