from __future__ import annotations

import ast
from pathlib import Path

import pytest

from service.api.story import SENTENCES, next_view, sentence, tell
from service.core.following import Next
from storage.records import TimelineEntry
from tests.storage.builders import NOW, task

ROOT = Path(__file__).parents[3]


def kinds() -> set[str]:
    """The first word or `kind=` of every note and timeline entry that the code makes."""
    found: set[str] = set()
    for folder in ("service/core", "service/pipeline"):
        for path in (ROOT / folder).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    stated = [word.value for word in node.keywords if word.arg == "kind"]
                    if node.func.id == "said":
                        stated += node.args[:1]
                    if node.func.id in ("Note", "TimelineEntry", "said"):
                        found |= {one.value for one in stated if isinstance(one, ast.Constant)}  # type: ignore[misc]
    return found


def test_every_kind_of_entry_has_its_sentence() -> None:
    assert {"created", "bound", "succeeded", "canceled"} <= kinds()
    assert kinds() <= set(SENTENCES)


@pytest.mark.parametrize("kind", [*SENTENCES, "of_a_later_release"])
def test_a_sentence_stands_even_where_a_detail_is_missing(kind: str) -> None:
    assert sentence(kind, {}, task()).strip()


def test_what_the_provider_said_is_told() -> None:
    assert sentence("refused", {"message": "no such model"}, task()) == (
        "cloudsway refused it. Nothing was bought. (no such model)"
    )
    assert "a second time" in sentence("intent", {"submission": 2, "resend": True}, task())


def test_an_entry_and_what_comes_next_carry_readable_times() -> None:
    entry = TimelineEntry(
        task_id="task_1", version=1, ordinal=0, at=NOW, kind="canceled", source="operator", detail="{}"
    )
    assert tell(entry, task())["at"] == "2026-09-21T14:13:20.000000Z"
    coming = next_view(Next(action="poll", at=NOW, reason="why"))
    assert coming == {"action": "poll", "at": "2026-09-21T14:13:20.000000Z", "reason": "why"}
    assert next_view(None) is None
