"""A test's database is one of its own, though its file was not migrated for it: see tests/engines.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage import projects
from storage.database import open_database
from tests import engines

pytestmark = pytest.mark.sqlite("the file is made once per process")


async def installation(folder: Path) -> str:
    database = await open_database(await engines.address(folder), clock=lambda: 2)
    try:
        return await database.read(projects.installation)
    finally:
        await database.close()


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    return one, other


async def test_each_is_another_installation_and_stays_itself(folders: tuple[Path, Path]) -> None:
    one, other = [await installation(folder) for folder in folders]
    assert one != other and len(one) == len(other) == 32
    assert await installation(folders[0]) == one
