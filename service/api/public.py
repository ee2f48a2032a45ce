"""Routes that need no key: whether the process lives, and where the documentation is."""

from __future__ import annotations

import asyncio

import orjson
from starlette.requests import Request
from starlette.responses import Response

from service import __version__
from service.api.context import Context
from service.api.problems import CODES, Problem
from storage import projects
from storage.database import Connection
from storage.errors import Busy, Full, StorageError

READY_FOR_SECONDS = 1.0  # one answer serves everybody who asks within it: probes must not become load
READY_WITHIN_SECONDS = 3.0
FULL_FOR_SECONDS = 3.0  # a probe may still find room where a task did not
DISK_FULL = "The disk that holds the database is full. Nothing is taken in until there is room."


class Public:
    """The open routes. Holds the last readiness check."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._checking: asyncio.Task[str | None] | None = None
        self._checked_at = 0.0
        self._full_until = 0.0

    def refused(self, error: StorageError) -> None:
        """Hear of a request that could not be stored."""
        if isinstance(error, Full):
            self._full_until = asyncio.get_running_loop().time() + FULL_FOR_SECONDS

    async def live(self, request: Request) -> Response:
        """GET /livez: the process answers."""
        return _said({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """GET /readyz: the database can be read and written, checked at most once a second."""
        now = asyncio.get_running_loop().time()
        if self._checking is None or (self._checking.done() and now - self._checked_at >= READY_FOR_SECONDS):
            self._checked_at = now
            self._checking = asyncio.create_task(self._check())
        trouble = await asyncio.shield(self._checking)
        if trouble is None and now < self._full_until:
            trouble = DISK_FULL
        skew = self._context.skew
        if trouble is None and skew.refused:
            trouble = skew.noted
        if trouble is not None:
            raise Problem("unavailable", trouble, headers={"retry-after": "1"})
        return _said({"status": "ok"} if skew.noted is None else {"status": "ok", "warnings": [skew.noted]})

    async def root(self, request: Request) -> Response:
        """GET /: for somebody who opened the address in a browser."""
        base = self._context.base
        told: dict[str, object] = {"name": "taskrelay", "version": __version__, "api": f"{base}/v1"}
        if self._context.docs:
            told |= {"docs": f"{base}/docs", "openapi": f"{base}/openapi.json"}
        return _said({**told, "problems": f"{base}/docs/problems"})

    async def problems(self, request: Request) -> Response:
        """GET /docs/problems: where the `type` of every error leads."""
        page = "".join(
            f'<h2 id="{code}">{code}</h2><p>{kind.status}. {kind.title}.</p>' for code, kind in CODES.items()
        )
        return Response(
            f"<!doctype html><title>taskrelay: problems</title><h1>Problems</h1>{page}",
            headers={"content-security-policy": "default-src 'none'", "cache-control": "max-age=3600"},
            media_type="text/html",
        )

    async def _check(self) -> str | None:
        """Why nothing can be taken in just now, in words that a stranger may read."""

        async def unit(tx: Connection) -> None:
            await projects.touch(tx)

        try:
            async with asyncio.timeout(READY_WITHIN_SECONDS):
                await self._context.database.read(projects.installation)
                await self._context.database.write(unit)
        except Full:
            return DISK_FULL
        except Busy:
            return "Another process keeps the database from being written."
        except TimeoutError:
            return f"The database took no write within {READY_WITHIN_SECONDS:g} seconds."
        except StorageError:
            return "The database cannot be written just now."
        return None


def _said(body: dict[str, object]) -> Response:
    return Response(orjson.dumps(body), headers={"cache-control": "no-store"}, media_type="application/json")
