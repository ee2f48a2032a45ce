"""An observation is a plain value: what was said, by whom, about which task."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import orjson
import pytest

from service.core.observation import Claim, Observation, Reading, Source
from storage.records import Failure, FailureCode, Output
from tests.service.core.builders import poll

FULL = Reading(
    claim=Claim.SUCCEEDED,
    provider_task_id="831922345719271433",
    external_id="task_1",
    provider_status="succeed",
    progress=100,
    outputs=(Output(url="https://cdn.example.com/a.mp4", duration="5.041", expires_at=1),),
    failure=Failure(code=FailureCode.NO_OUTPUT, message="紙の舟"),
    charged="5.6",
    cost_unit="unit",
    also=("job-2",),
    raw=b"\xff\x00",
)


def test_an_observation_claims_what_its_reading_claims() -> None:
    for claim in Claim:
        assert poll(claim).claim is claim


def test_it_cannot_be_changed_after_the_fact() -> None:
    with pytest.raises(FrozenInstanceError):
        FULL.claim = Claim.FAILED  # type: ignore[misc]


def test_an_equal_message_is_an_equal_observation() -> None:
    one, two = (Observation(task_id="task_1", source=Source.POLL, reading=replace(FULL), at=7) for _ in range(2))
    assert one == two
    assert hash(one) == hash(two)


def test_its_content_is_plain_json_without_the_raw_bytes() -> None:
    """What is stored for replay: every word survives, ids keep every digit, bytes stand in their own column."""
    stored = orjson.loads(orjson.dumps(replace(FULL, raw=None)))
    assert stored["raw"] is None
    assert stored["provider_task_id"] == "831922345719271433"
    assert (stored["claim"], stored["charged"], stored["also"]) == ("succeeded", "5.6", ["job-2"])
    assert stored["outputs"] == [
        {"url": "https://cdn.example.com/a.mp4", "type": "video", "duration": "5.041", "expires_at": 1}
    ]
    assert stored["failure"]["code"] == "no_output"


def test_the_words_are_stored_and_must_not_change() -> None:
    assert [source.value for source in Source] == ["submit", "callback", "poll", "look_up", "operator", "deadline"]
    assert {claim.value for claim in Claim} == {
        "intent",
        "accepted",
        "refused",
        "deferred",
        "ambiguous",
        "waiting",
        "running",
        "succeeded",
        "failed",
        "unknown",
        "absent",
        "unreachable",
        "overdue",
        "cancel",
        "abandon",
    }
