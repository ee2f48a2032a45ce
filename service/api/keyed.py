"""What stands before every route with a key: who asks, whether they may, how often, and whether it was done before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from service.api import auth
from service.api.call import Answer, Call
from service.api.context import Context
from service.api.once import Answered, once_of
from service.api.problems import Problem
from service.telemetry.context import whose

Scopes: TypeAlias = tuple[str, ...]

# Method, path, scopes of which one is needed, who answers.
Row: TypeAlias = tuple[str, str, Scopes, Answer]

MORE = "taskrelay.more"  # of a request's scope: headers that its answer carries, whatever it is


def keyed(
    path: str, answers: Mapping[str, tuple[Scopes, Answer]], context: Context
) -> Callable[[Request], Awaitable[Response]]:
    """One path's answers, by method."""

    async def endpoint(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        scopes, answer = answers[method]
        key = await auth.identify(request.scope, context)
        whose(key.id, key.project_id)
        # Before the scope: whoever asks for what they may not is counted as well.
        standing = context.rates.take(key.id, context.ticks())
        request.scope[MORE] += standing.headers
        standing.demand()
        auth.demand(key, scopes)
        once = once_of(context, key, request, f"{method} {path}") if method == "POST" else None
        try:
            response = await answer(Call(context=context, request=request, key=key, once=once))
        except Answered as again:
            if not again.whole:
                raise _erased(again, context) from None
            response = again.response
        response.headers.setdefault("cache-control", "no-store")
        return response

    return endpoint


def _erased(again: Answered, context: Context) -> Problem:
    link = f"{context.base}/v1/tasks/{again.task_id}"
    detail = f"This was done before and created {again.task_id}, which was erased since, with what was answered then."
    return Problem("answer_erased", detail, extra={"existing": again.task_id, "links": {"existing": link}})
