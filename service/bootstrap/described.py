"""The API's description without a running service."""

from __future__ import annotations

from typing import Any

from service.api.app import OPEN_ROWS, ROUTES
from service.api.openapi.document import document


def describe(base: str) -> dict[str, Any]:
    """What `GET /openapi.json` answers at an installation whose links begin with `base`."""
    return document([*((method, path, scopes) for method, path, scopes, _ in ROUTES), *OPEN_ROWS], base)
