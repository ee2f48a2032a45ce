"""The request on whose behalf something happens, so that lines below the API carry its id.

Set by the HTTP frame, one for each request. What serves many at once (the recorder, the writer) is started without one: it
would go on under the id of whoever came first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar, Token, copy_context
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class Asked:
    """One request: its id, and whose it is once that is known. `traceparent`: of the trace it belongs to, validated."""

    request_id: str
    key_id: str | None = None
    project_id: str | None = None
    traceparent: str | None = None
    problem: str | None = None  # the code of the refusal it was answered with


_asked: ContextVar[Asked | None] = ContextVar("asked", default=None)


class Begun:
    """A request under way, until `end`."""

    __slots__ = ("_token", "asked")

    def __init__(self, asked: Asked, token: Token[Asked | None]) -> None:
        self.asked = asked
        self._token = token

    def end(self) -> None:
        _asked.reset(self._token)


def begin(request_id: str) -> Begun:
    """From here on, in this task and those it starts, everything is on behalf of this request."""
    asked = Asked(request_id)
    return Begun(asked, _asked.set(asked))


def current() -> Asked | None:
    """The request on whose behalf this runs; None where it serves nobody in particular."""
    return _asked.get()


def traceparent() -> str | None:
    """The trace that the request belongs to, as its client says."""
    asked = _asked.get()
    return asked.traceparent if asked is not None else None


def whose(key_id: str, project_id: str) -> None:
    """The request's key is known now."""
    if (asked := _asked.get()) is not None:
        asked.key_id, asked.project_id = key_id, project_id


def fields() -> dict[str, object]:
    """What a log line says of the request it belongs to."""
    asked = _asked.get()
    if asked is None:
        return {}
    said: dict[str, object] = {"request_id": asked.request_id}
    if asked.key_id is not None:
        said["key"] = asked.key_id
    if asked.project_id is not None:
        said["project"] = asked.project_id
    return said


def for_all(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start what serves everybody, on behalf of nobody."""
    nobody = copy_context()  # whatever else it holds stays
    nobody.run(_asked.set, None)
    return asyncio.get_running_loop().create_task(work, context=nobody)
