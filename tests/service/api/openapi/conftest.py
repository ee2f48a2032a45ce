"""The document as a client gets it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.service.api import witness


@pytest.fixture(scope="session")
def document() -> dict[str, Any]:
    return witness.described()
