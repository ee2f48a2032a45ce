from __future__ import annotations

from pathlib import Path

import pytest

from tests.schema.run import hold

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


async def test_a_live_service_is_what_its_document_says(tmp_path: Path) -> None:
    """In full: make schema."""
    code, said = await hold(tmp_path, examples=2, seed=1)
    assert code == 0, said
    assert " failed" not in said and "Tested: 0" not in said
