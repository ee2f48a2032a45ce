from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.times import DAY, SECOND, parse_iso
from service.providers import link_life
from tests.service.providers import test_apiinone, test_ulazai
from tests.service.providers.builders import reply
from tests.service.providers.test_acedata import VIDEO, asked, record

BASE = "https://v.example.org/o.mp4"


@pytest.mark.parametrize(
    ("query", "until"),
    [
        ("?ksSecret=a&ksTime=6a6ef86e", "2026-08-02T07:57:34Z"),  # the documented sample of Kling's
        ("?Expires=1785657454&Signature=x", "2026-08-02T07:57:34Z"),
        ("?X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-Signature=x", "2026-01-02T04:04:05Z"),
        ("?X-Goog-Expires=60&X-Goog-Date=20260102T030405Z", "2026-01-02T03:05:05Z"),
    ],
)
def test_a_signed_link_says_until_when_it_is_good(query: str, until: str) -> None:
    assert link_life.of_link(BASE + query) == parse_iso(until)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?ksTime=zz",
        "?ksTime=6a6ef86e0",
        "?Expires=17",
        "?Expires=17856574540",
        "?NotExpires=1785657454",
        "?X-Amz-Expires=3600",
        "?X-Amz-Date=20260102T030405Z&X-Amz-Expires=99999999",
        "?X-Amz-Date=20261302T030405Z&X-Amz-Expires=60",
        "#Expires=1785657454",
    ],
)
def test_what_a_link_does_not_say_is_not_guessed(query: str) -> None:
    assert link_life.of_link(BASE + query) is None


@given(st.text(alphabet="?&=XAmzGoogDateExpiresksTime-0123456789TZ", max_size=200))
def test_no_link_makes_it_stumble(text: str) -> None:
    found = link_life.of_link(text)
    assert found is None or found >= 0


@pytest.mark.parametrize("ended", [0.0, -1.0, float("inf"), float("nan"), 1e15])
def test_a_life_without_a_sane_beginning_has_no_known_end(ended: float) -> None:
    assert link_life.after(ended, DAY) is None


def test_acedata_keeps_outputs_for_thirty_days_from_the_end_that_its_record_states() -> None:
    shown = record({"success": True, "video_url": VIDEO}, started_at=1.5, finished_at=1790000317.5)
    assert asked(shown).outputs[0].expires_at == 1790000317 * SECOND + SECOND // 2 + 30 * DAY


@pytest.mark.parametrize(("query", "until"), [("", None), ("?Expires=1785657454", 1785657454 * SECOND)])
def test_every_contract_tells_what_the_link_says_and_no_more(query: str, until: int | None) -> None:
    link = BASE + query
    shown = [
        asked(record({"success": True, "video_url": link}, started_at=1.5)),
        test_ulazai.asked(reply({"success": True, "status": "completed", "video_url": link})),
        test_apiinone.asked({"data": {"task_id": test_apiinone.JOB, "status": "completed", "video_url": link}}),
    ]
    assert [seen.outputs[0].expires_at for seen in shown] == [until] * 3
