from __future__ import annotations

import ast
from pathlib import Path

import pytest

from service.api.story import SENT_AGAIN, SENTENCES, next_view, sentence, tell
from service.core.buying import Resend
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
                    if node.func.id in ("said", "ordered"):
                        stated += node.args[:1]
                    if node.func.id in ("Note", "TimelineEntry", "said", "ordered"):
                        found |= {one.value for one in stated if isinstance(one, ast.Constant)}  # type: ignore[misc]
    return found


def test_every_kind_of_entry_has_its_sentence() -> None:
    assert {"created", "bound", "succeeded", "canceled", "adopted", "released"} <= kinds()
    assert kinds() <= set(SENTENCES)


@pytest.mark.parametrize("kind", [*SENTENCES, "of_a_later_release"])
def test_a_sentence_stands_even_where_a_detail_is_missing(kind: str) -> None:
    assert sentence(kind, {}, task()).strip()


def test_what_the_provider_said_is_told() -> None:
    assert sentence("refused", {"message": "no such model"}, task()) == (
        "cloudsway refused it. Nothing was bought. (no such model)"
    )


@pytest.mark.parametrize(
    ("resend", "told"),
    [
        ("absent", "a second time: the first one never arrived."),
        ("permission", "on a person's word: it may be charged twice."),
        ("policy", "by the project's policy: it may be charged twice."),
        (None, "nothing is bought before this."),
    ],
)
def test_a_submission_says_why_it_is_made_once_more(resend: str | None, told: str) -> None:
    detail = {"submission": 2} | ({"resend": resend} if resend else {})
    assert sentence("intent", detail, task()).endswith(told)
    assert set(SENT_AGAIN) == set(Resend)


def test_who_ordered_it_is_told_by_the_keys_name_and_id() -> None:
    detail = {"by": "night shift", "key": "key_1"}
    assert sentence("resubmit_allowed", detail, task()).startswith('API key "night shift" (key_1) accepted')
    assert sentence("abandoned", {}, task()).startswith("Given up by somebody.")


def test_a_job_too_many_is_not_told_as_if_nothing_had_changed() -> None:
    told = sentence("conflict", {"conflict": "surplus", "why": "job-2 was bought beside job-1"}, task())
    assert "may be charged as well. (job-2" in told
    assert "Nothing was changed" in sentence("conflict", {"conflict": "verdict"}, task())


def test_a_project_that_accepts_a_second_charge_says_so_from_the_start() -> None:
    assert "possible second charge" in sentence("created", {"on_ambiguous": "resubmit"}, task())
    assert "second charge" not in sentence("created", {}, task())


def test_an_entry_and_what_comes_next_carry_readable_times() -> None:
    entry = TimelineEntry(
        task_id="task_1", version=1, ordinal=0, at=NOW, kind="canceled", source="operator", detail="{}"
    )
    assert tell(entry, task())["at"] == "2026-09-21T14:13:20.000000Z"
    coming = next_view(Next(action="poll", at=NOW, reason="why"))
    assert coming == {"action": "poll", "at": "2026-09-21T14:13:20.000000Z", "reason": "why"}
    assert next_view(None) is None
