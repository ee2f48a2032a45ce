"""What was ordered stands beside what came of it, in one transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from service.pipeline.audit_trail import ACTIONS, Act, note
from storage import audit
from storage.database import Connection, Database
from tests import engines
from tests.storage.builders import NOW, PROJECT
from tests.storage.conftest import opened


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with opened(await engines.address(tmp_path, lambda: NOW), lambda: NOW) as made:
        yield made


async def test_an_order_is_kept_with_who_gave_it_and_what_it_was_about(database: Database) -> None:
    act = Act(action="endpoint.change", key_id="key_1", detail={"members": ["url"]})
    where = {"project_id": PROJECT, "now": NOW, "endpoint_id": "ep_1"}
    await database.write(lambda tx: note(tx, act, mint=lambda prefix: f"{prefix}_1", **where))  # type: ignore[arg-type]
    [kept] = await database.read(lambda tx: audit.page(tx, PROJECT, after=None, limit=9))
    assert (kept.id, kept.key_id, kept.endpoint_id, kept.task_id, kept.at) == ("aud_1", "key_1", "ep_1", None, NOW)
    assert (kept.action, orjson.loads(kept.detail)) == (act.action, {"members": ["url"]})


async def test_an_order_that_fails_leaves_no_trace(database: Database) -> None:
    async def unit(tx: Connection) -> None:
        act = Act(action="retry")
        await note(tx, act, project_id=PROJECT, now=NOW, mint=lambda prefix: f"{prefix}_1")
        raise LookupError

    with pytest.raises(LookupError):
        await database.write(unit)
    assert await database.read(lambda tx: audit.page(tx, PROJECT, after=None, limit=9)) == []


def test_every_action_is_explained() -> None:
    assert all(text and not text.endswith(".") for text in ACTIONS.values())


def test_every_word_of_the_trail_is_in_the_manual() -> None:
    page = (Path(__file__).parents[3] / "docs" / "api.md").read_text()
    assert [word for word in ACTIONS if f"`{word}`" not in page] == []
