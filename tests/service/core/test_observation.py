"""An observation is a plain value: what was said, by whom, about which task."""

from __future__ import annotations

from dataclasses import replace

import orjson
from hypothesis import given
from hypothesis import strategies as st

from service.core.observation import Claim, Observation, Reading, Source, dump, load
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


def test_an_equal_message_is_an_equal_observation() -> None:
    one, two = (Observation(task_id="task_1", source=Source.POLL, reading=replace(FULL), at=7) for _ in range(2))
    assert one == two
    assert hash(one) == hash(two)


def test_its_content_is_plain_json_of_what_it_says_without_the_raw_bytes() -> None:
    """What is stored for replay: every word survives, ids keep every digit, bytes stand in their own column."""
    assert orjson.loads(dump(FULL)) == {
        "claim": "succeeded",
        "provider_task_id": "831922345719271433",
        "external_id": "task_1",
        "provider_status": "succeed",
        "progress": 100,
        "outputs": [
            {
                "url": "https://cdn.example.com/a.mp4",
                "type": "video",
                "duration": "5.041",
                "expires_at": 1,
                "told_at": None,
                "gone_at": None,
            }
        ],
        "failure": {
            "code": "no_output",
            "message": "紙の舟",
            "retryable": False,
            "provider_code": None,
            "provider_message": None,
        },
        "charged": "5.6",
        "cost_unit": "unit",
        "also": ["job-2"],
    }
    assert dump(Reading(claim=Claim.UNKNOWN)) == '{"claim":"unknown"}'


texts = st.text(st.characters(codec="utf-8"), max_size=20)
readings = st.builds(
    Reading,
    claim=st.sampled_from(Claim),
    **{name: st.none() | texts for name in ("provider_task_id", "external_id", "provider_status", "charged", "detail")},
    cost_unit=st.none() | texts,
    progress=st.none() | st.integers(0, 100),
    outputs=st.lists(st.builds(Output, url=texts, expires_at=st.none() | st.integers(0, 2**53))).map(tuple),
    failure=st.none() | st.builds(Failure, code=st.sampled_from(FailureCode), message=texts, retryable=st.booleans()),
    retry_after_seconds=st.none() | st.floats(0, 86_400),
    account_refused=st.booleans(),
    refunded=st.booleans(),
    also=st.lists(texts).map(tuple),
)


@given(readings)
def test_what_was_kept_is_read_back_as_it_was(reading: Reading) -> None:
    assert load(dump(reading)) == reading


def test_the_words_are_stored_and_must_not_change() -> None:
    sources = ["submit", "callback", "poll", "look_up", "operator", "deadline", "reader"]
    assert [source.value for source in Source] == sources
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
        "adopt",
        "resubmit",
        "abandon",
        "restored",
        "wanted",
        "asked",
    }
