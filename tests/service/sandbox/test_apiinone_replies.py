from __future__ import annotations

from typing import Any

import pytest

from service.sandbox.accounts import Account
from service.sandbox.apiinone import CONTRACT
from service.sandbox.apiinone_replies import WORDS, error, shown
from service.sandbox.directives import Directives
from service.sandbox.jobs import REPLIES, Job, Phase


def job(phase: Phase, **orders: Any) -> Job:
    return Job(
        contract=CONTRACT,
        account=Account(company="apiinone", key="k"),
        id="t1",
        prompt="A tram",
        asked={"output_base": "https://v.example.org"},
        directives=Directives(**orders),
        accepted_at=1_770_105_600.0,
        phase=phase,
        word=CONTRACT.words[phase],
        reason="it broke" if phase is Phase.FAILED else "",
    )


def test_each_generation_has_its_own_words() -> None:
    assert set(WORDS) == set(REPLIES)
    assert all(len({words[phase] for words in WORDS.values()}) == len(REPLIES) for phase in Phase)


def test_video_stands_where_each_generation_has_it() -> None:
    link = "https://v.example.org/t1.mp4"
    done = {generation: shown(job(Phase.SUCCEEDED), generation) for generation in REPLIES}
    assert done["early"] == {
        "id": "t1",
        "status": "completed",
        "model": "kling-3",
        "created_at": "2026-02-03T08:00:00Z",
        "output": {"video_url": link},
    }
    assert done["later"]["data"] == {"task_id": "t1", "status": "SUCCESS", "output": {"video_url": link}}
    assert done["newest"]["data"] == {"id": "t1", "state": "COMPLETED", "results": [{"url": link}]}


@pytest.mark.parametrize("generation", REPLIES)
def test_success_told_to_have_no_output_has_no_link(generation: str) -> None:
    assert "https://" not in repr(shown(job(Phase.SUCCEEDED, no_output=True), generation))


@pytest.mark.parametrize("generation", REPLIES)
def test_failure_tells_its_reason(generation: str) -> None:
    assert "it broke" in repr(shown(job(Phase.FAILED), generation))


def test_refusal_of_the_early_generation_is_the_documented_one() -> None:
    assert error("early", 401, "bad key") == {"error": {"code": 401, "message": "bad key", "type": "auth"}}
    assert error("later", 402, "broke") == {"code": 402, "message": "broke", "data": None}


@pytest.mark.parametrize("generation", REPLIES)
def test_word_nobody_knows_is_shown_as_it_is(generation: str) -> None:
    strange = job(Phase.RUNNING)
    strange.word = "reviewing"
    assert "reviewing" in repr(shown(strange, generation))
