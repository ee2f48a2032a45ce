"""UlazAI's older model, Kling 2.6: another wire form under the same key, nested replies, fixed prices."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import pytest

from service.core.observation import Claim
from service.core.request import Invalid
from service.providers.base import Ask, Reply
from service.providers.registry import PROVIDERS
from tests.service.providers.builders import TASK_ID, account, reply, request, task, walk

ULAZAI, MODEL = PROVIDERS["ulazai"], "kling-2.6"
JOB = "5a3c6f1e-1111-4222-8333-444455556666"
IMAGE, OTHER = "https://assets.example.org/a.png", "https://assets.example.org/b.png"


def sent(input: Mapping[str, object]) -> Ask:
    one = task("ulazai", model=MODEL, input=input)
    return walk(ULAZAI.submit(account("ulazai"), one, None), Reply(status=503))[0][0]


def faults(input: Mapping[str, object]) -> dict[str, str]:
    with pytest.raises(Invalid) as told:
        ULAZAI.prepare(request("ulazai", input, model=MODEL))
    return {fault.pointer: fault.detail for fault in told.value.faults}


def test_a_text_purchase_says_everything_that_a_default_could_decide() -> None:
    ask = sent({"prompt": "A."})
    assert (ask.method, ask.path, ask.paid) == ("POST", "/kling26/api/generate/", True)
    assert ask.body == {
        "prompt": "A.",
        "generationMode": "text_to_video",
        "duration": "5",
        "aspectRatio": "16:9",
        "sound": False,
        "prompt_directory_optin": False,
    }


def test_an_image_makes_it_image_to_video_without_an_aspect_ratio() -> None:
    for input in ({"image": IMAGE}, {"images": [IMAGE]}):
        body = sent({"prompt": "A.", "duration": 10, "sound": True, **input}).body
        assert body == {
            "prompt": "A.",
            "generationMode": "image_to_video",
            "imageUrls": [IMAGE],
            "duration": "10",
            "sound": True,
            "prompt_directory_optin": False,
        }


def test_exactly_one_image_is_taken() -> None:
    assert "at most 1" in faults({"prompt": "A.", "images": [IMAGE, OTHER]})["/input/images"]
    assert list(faults({"prompt": "A.", "image": IMAGE, "images": [OTHER]})) == ["/input/images"]


def test_an_aspect_ratio_beside_an_image_is_refused() -> None:
    assert list(faults({"prompt": "A.", "image": IMAGE, "aspect_ratio": "1:1"})) == ["/input/aspect_ratio"]


@pytest.mark.parametrize("seconds", [3, 4, 6, 9, 11, 15])
def test_it_makes_5_or_10_seconds(seconds: int) -> None:
    detail = f"ulazai/kling-2.6 makes 5 or 10 seconds, not {seconds}."
    assert faults({"prompt": "A.", "duration": seconds}) == {"/input/duration": detail}


def test_its_prompts_end_at_2000_characters_though_one_page_says_2500() -> None:
    assert ULAZAI.prepare(request("ulazai", {"prompt": "👩" * 2000}, model=MODEL))
    assert "at most 2000 characters" in faults({"prompt": "👩" * 2001})["/input/prompt"]


def test_it_has_one_quality_and_none_of_the_newer_words() -> None:
    told = faults({"prompt": "A.", "quality": "pro", "mode": "pro", "end_image": IMAGE})
    assert set(told) == {"/input/quality", "/input/mode", "/input/end_image"}
    assert "It has standard." in told["/input/quality"]
    assert "ulazai/kling-3.0" in told["/input/end_image"]


@pytest.mark.parametrize(
    "seconds, sound, shared, credits",
    [
        (5, False, False, 55),
        (10, False, False, 110),
        (5, True, False, 110),
        (10, True, False, 220),
        (5, False, True, 45),
        (10, False, True, 100),
        (5, True, True, 100),
        (10, True, True, 210),
    ],
)
def test_the_estimate_follows_the_price_table(seconds: int, sound: bool, shared: bool, credits: int) -> None:
    input = {"prompt": "A.", "duration": seconds, "sound": sound, "share_publicly": shared}
    estimate = ULAZAI.prepare(request("ulazai", input, model=MODEL)).estimate
    assert (estimate.unit, estimate.amount) == ("credit", Decimal(credits))


def test_its_jobs_are_asked_for_under_its_own_path() -> None:
    tasks = [task("ulazai", id="task_a", job="a", model=MODEL), task("ulazai", id="task_b", job="b")]
    asks, _ = walk(ULAZAI.query(account("ulazai"), tasks), reply({"data": {"status": "processing"}}))
    assert [ask.path for ask in asks] == ["/kling26/api/status/a/", "/kling30/api/status/b/"]


@pytest.mark.parametrize("stated, progress", [(0, 0), (45, 45), (100, 100), (101, None), (-1, None), ("45", None)])
def test_progress_is_a_whole_number_from_0_to_100(stated: object, progress: int | None) -> None:
    body = {"success": True, "data": {"task_id": JOB, "status": "processing", "progress": stated}}
    seen = walk(ULAZAI.query(account("ulazai"), [task("ulazai", job=JOB, model=MODEL)]), reply(body))[1][TASK_ID]
    assert (seen.claim, seen.progress) == (Claim.RUNNING, progress)
