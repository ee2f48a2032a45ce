"""GET /openapi.json and /docs: the document as it is, and to read. Everything comes from here, nothing from elsewhere.

What the page is made of is served under names that hold its hash, so a browser keeps it for good.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.api.openapi.document import Row, document
from service.api.problems import NOWHERE, Problem

FOLDER: Final = Path(__file__).parent / "assets"
SERVED: Final[Mapping[str, str]] = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "start.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
# Addresses are relative to /docs: a proxy may serve us under a path.
PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>taskrelay: HTTP API</title>
<link rel="icon" type="image/png" href="docs/assets/{favicon-32x32.png}">
<link rel="stylesheet" href="docs/assets/{swagger-ui.css}">
<noscript>This page needs JavaScript. <a href="openapi.json">The document itself</a> does not,
and <a href="docs/problems">what each error means</a> neither.</noscript>
<div id="swagger-ui"></div>
<script src="docs/assets/{swagger-ui-bundle.js}"></script>
<script src="docs/assets/{start.js}"></script>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A file under the name it is served as."""

    name: str
    type: str
    content: bytes


class Pages:
    """The three routes. `rows`: method, path and scopes of every route; the document is written when first asked for."""

    def __init__(self, rows: Sequence[Row], base: str) -> None:
        self._rows = rows
        self._base = base
        self._written: tuple[bytes, str] | None = None

    def routes(self) -> list[Route]:
        return [
            Route("/openapi.json", self.document),
            Route("/docs", self.page),
            Route("/docs/assets/{name}", self.asset),
        ]

    async def document(self, request: Request) -> Response:
        """GET /openapi.json"""
        if self._written is None:
            body = orjson.dumps(document(self._rows, self._base), option=orjson.OPT_NON_STR_KEYS)
            self._written = body, f'"{hashlib.blake2b(body, digest_size=15).hexdigest()}"'
        body, tag = self._written
        headers = {"etag": tag, "cache-control": "no-cache"}
        if tag in [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]:
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type="application/json")

    async def page(self, request: Request) -> Response:
        """GET /docs"""
        page = PAGE
        for file, asset in assets().items():
            page = page.replace(f"{{{file}}}", asset.name)
        headers = {
            "content-security-policy": POLICY,
            "cache-control": "no-cache",
            "referrer-policy": "no-referrer",
            "cross-origin-opener-policy": "same-origin",
        }
        return Response(page, headers=headers, media_type="text/html")

    async def asset(self, request: Request) -> Response:
        """GET /docs/assets/{name}"""
        wanted = request.path_params["name"]
        found = next((asset for asset in assets().values() if asset.name == wanted), None)
        if found is None:
            raise Problem("not_found", NOWHERE)
        headers = {
            "cache-control": "public, max-age=31536000, immutable",
            "content-security-policy": "default-src 'none'",
        }
        return Response(found.content, headers=headers, media_type=found.type)


@cache
def assets() -> Mapping[str, Asset]:
    """What the page is made of, by file; read when first asked for."""
    return {file: _asset(file, type) for file, type in SERVED.items()}


def _asset(file: str, type: str) -> Asset:
    content = (FOLDER / file).read_bytes()
    stem, _, ending = file.rpartition(".")
    return Asset(name=f"{stem}-{hashlib.sha256(content).hexdigest()[:12]}.{ending}", type=type, content=content)
