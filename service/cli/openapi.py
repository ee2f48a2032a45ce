"""`openapi`: the API's description, to generate a client or a mock from. Needs no running service and no key."""

from __future__ import annotations

from service.cli.client import HERE, Url
from service.cli.terminal import show


def openapi(url: Url = HERE) -> None:
    """Print the HTTP API as OpenAPI 3.1: every route, body, problem and event of this release.

    A service in reach serves the same at /openapi.json.
    """
    from service.bootstrap.described import describe

    show(describe(url.rstrip("/")))
