"""What is counted and logged of each request once it has been answered: our own access log.

Of the address only the route's template is written, never path, query or headers: a path may hold an output token and a
query whatever a client puts there. A line costs 10 µs where the quickest request takes 600 (docs/monitoring.md).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Final

from starlette.types import Scope

from service.core import traceparent
from service.telemetry import context, metrics
from service.telemetry.facts import tell

log = logging.getLogger("taskrelay.access")

NO_ROUTE: Final = "none"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
QUIET: Final = frozenset({"/livez", "/readyz", "/metrics"})  # asked every few seconds, by probes


class Access:
    """One request on its way. Made where it comes in; `ended` is called once, whatever became of it."""

    __slots__ = ("_asked", "_before", "_began", "_scope", "_status")

    def __init__(self, scope: Scope, request_id: str) -> None:
        self._scope = scope
        self._began = time.perf_counter()
        self._status = 0
        self._before = context.begin(request_id)
        self._asked = self._before.asked
        if scope["method"] == "POST":
            self._asked.traceparent = _trace(scope["headers"])

    def answered(self, status: int) -> None:
        """The answer begins."""
        self._status = status

    def refused(self, code: str) -> None:
        """The answer is a problem."""
        self._asked.problem = code
        metrics.http_problems.labels(code).inc()

    def ended(self, route: str, *, told: bool) -> None:
        """Count it, and log it if `told`. Without an answer the client went away first: nginx calls that 499."""
        seconds = time.perf_counter() - self._began
        status, method = self._status or 499, self._scope["method"]
        method = method if method in METHODS else "other"
        metrics.http_requests.labels(method, route, f"{status // 100}xx").inc()
        metrics.http_request_seconds.labels(route).observe(seconds)
        level = logging.DEBUG if route in QUIET and status < 400 else logging.INFO
        if told and log.isEnabledFor(level):
            client = self._scope.get("client")
            tell(
                log,
                "request",
                level,
                method=method,
                route=route,
                status=status,
                ms=round(seconds * 1000, 2),
                problem=self._asked.problem,
                client=client[0] if client else None,
            )
        self._before.end()


def _trace(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The trace that the client says this belongs to; stated twice or wrongly it is as if it were not there."""
    stated = [value for name, value in headers if name == b"traceparent"]
    return traceparent.read(stated[0].decode("latin-1")) if len(stated) == 1 else None
