"""API in One: sound always said, and replies that nobody documents read so that no job ends by mistake."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import pytest

from service.core.observation import Claim, Reading
from service.core.request import Invalid
from service.providers.base import Reply
from service.providers.registry import PROVIDERS
from tests.service.providers.builders import CLUES, TASK_ID, account, push, reply, request, task, walk

APIINONE = PROVIDERS["apiinone"]
JOB = "n75a1b2_kling3"
IMAGE, VIDEO = "https://a.example.org/a.png", "https://cdn.example.org/k.mp4"


def sent(input: Mapping[str, object], options: Mapping[str, object] | None = None) -> dict[str, object]:
    one = task("apiinone", input=input, options=options)
    [ask] = walk(APIINONE.submit(account("apiinone"), one, None), Reply(status=503))[0]
    assert (ask.method, ask.path, ask.paid) == ("POST", "/api/v1/videos/generations", True)
    assert ask.body is not None
    return dict(ask.body)


def bought(body: object, status: int = 200) -> Reading:
    return walk(APIINONE.submit(account("apiinone"), task("apiinone"), None), reply(body, status))[1]


def asked(body: object, status: int = 200) -> Reading:
    return walk(APIINONE.query(account("apiinone"), [task("apiinone", job=JOB)]), reply(body, status))[1][TASK_ID]


def faults(input: Mapping[str, object], options: Mapping[str, object] | None = None) -> list[str]:
    with pytest.raises(Invalid) as told:
        APIINONE.prepare(request("apiinone", input, provider_options=options or {}))
    return [fault.pointer for fault in told.value.faults]


def test_a_text_purchase_says_everything_that_a_default_could_decide() -> None:
    assert sent({"prompt": "A."}) == {
        "model": "kling-3",
        "prompt": "A.",
        "mode": "std",
        "duration": 5,
        "aspect_ratio": "16:9",
        "sound": False,
    }


def test_one_image_is_one_string_and_invents_no_aspect_ratio() -> None:
    body = sent({"prompt": "A.", "image": IMAGE, "mode": "pro", "sound": True, "duration": 15})
    assert body == {
        "model": "kling-3",
        "prompt": "A.",
        "mode": "pro",
        "duration": 15,
        "sound": True,
        "image": IMAGE,
    }


def test_shots_switch_multi_shots_on_and_need_no_prompt() -> None:
    body = sent({"shots": [{"prompt": "A.", "duration": 1}, {"prompt": "B.", "duration": 3}]})
    assert (body["multi_shots"], body["duration"]) == (True, 4)
    assert body["multi_prompt"] == [{"prompt": "A.", "duration": 1}, {"prompt": "B.", "duration": 3}]
    assert "prompt" not in body
    assert faults({"shots": [{"prompt": "A.", "duration": 4}], "duration": 5}) == ["/input/shots"]
    assert faults({"shots": [{"prompt": "x" * 501, "duration": 5}]}) == ["/input/shots/0/prompt"]


def test_elements_are_passed_on_in_the_shape_that_is_known_elsewhere() -> None:
    element = {"name": "dog", "description": "a dog", "element_input_urls": [IMAGE, IMAGE]}
    assert sent({"prompt": "@dog"}, {"kling_elements": [element]})["kling_elements"] == [element]
    oddities: list[object] = [None, {}, [], [element] * 4, ["dog"], [{}], [{"name": 1}], [{"name": [1]}]]
    for odd in oddities:
        assert faults({"prompt": "A."}, {"kling_elements": odd}) == ["/provider_options/kling_elements"]


@pytest.mark.parametrize("seconds", [2, 16, 0, -5])
def test_durations_outside_3_to_15_are_refused(seconds: int) -> None:
    assert faults({"prompt": "A.", "duration": seconds}) == ["/input/duration"]


@pytest.mark.parametrize(
    "quality, sound, credits",
    [
        ("standard", False, (120, 200, 400, 600)),
        ("standard", True, (180, 300, 600, 900)),
        ("pro", False, (162, 270, 540, 810)),
        ("pro", True, (240, 400, 800, 1200)),
    ],
)
def test_the_estimate_follows_the_price_table(quality: str, sound: bool, credits: tuple[int, ...]) -> None:
    for seconds, amount in zip((3, 5, 10, 15), credits, strict=True):
        input = {"prompt": "A.", "quality": quality, "sound": sound, "duration": seconds}
        estimate = APIINONE.prepare(request("apiinone", input)).estimate
        assert (estimate.unit, estimate.amount) == ("credit", Decimal(amount))


@pytest.mark.parametrize(
    "body",
    [
        {"data": {"task_id": JOB, "id": "other"}},
        {"data": {"id": JOB}},
        {"data": {"taskId": JOB}},
        {"task_id": JOB},
        {"id": JOB},
        {"data": {"task_id": "a b"}, "id": JOB},
        {"code": 402, "message": "no", "task_id": JOB},
    ],
)
def test_an_id_in_any_known_place_is_a_purchase(body: object) -> None:
    assert bought(body).provider_task_id == JOB
    assert bought(body, 500).provider_task_id == JOB
    assert bought(body, 400).claim is Claim.REFUSED


@pytest.mark.parametrize("body", [{}, {"data": []}, {"data": {"task_id": 1.5}}, {"id": "../x"}, {"code": 200}, [], "x"])
def test_an_answer_without_a_usable_id_is_ambiguous(body: object) -> None:
    assert bought(body).claim is Claim.AMBIGUOUS


@pytest.mark.parametrize(
    "word, claim",
    [
        ("pending", Claim.WAITING),
        ("PENDING", Claim.WAITING),
        ("QUEUED", Claim.WAITING),
        ("IN_PROGRESS", Claim.RUNNING),
        ("processing", Claim.RUNNING),
        ("RUNNING", Claim.RUNNING),
        ("COMPLETED", Claim.SUCCEEDED),
        ("Success", Claim.SUCCEEDED),
        ("SUCCEEDED", Claim.SUCCEEDED),
        ("FAILED", Claim.FAILED),
        ("error", Claim.FAILED),
        ("generating", Claim.UNKNOWN),
        ("", Claim.UNKNOWN),
        (None, Claim.UNKNOWN),
    ],
)
def test_words_count_in_any_spelling_and_no_other_word_does(word: object, claim: Claim) -> None:
    assert asked({"code": 200, "data": {"task_id": JOB, "status": word}}).claim is claim
    assert asked({"id": JOB, "state": word}).claim is claim


@pytest.mark.parametrize(
    "place",
    [
        {"output": {"video_url": VIDEO}},
        {"output": {"url": VIDEO}},
        {"video_url": VIDEO},
        {"url": VIDEO},
        {"result_urls": [VIDEO]},
        {"results": [{"url": VIDEO}]},
        {"outputs": [{"url": VIDEO}]},
        {"video_url": "http://cdn.example.org/plain.mp4", "url": VIDEO},
    ],
)
def test_the_link_is_found_wherever_a_page_has_shown_it(place: dict[str, object]) -> None:
    seen = asked({"data": {"task_id": JOB, "status": "completed", **place}})
    assert [output.url for output in seen.outputs] == [VIDEO]


def test_success_without_a_link_is_a_success_word_with_no_outputs() -> None:
    seen = asked({"data": {"task_id": JOB, "status": "completed", "output": {"video_url": ""}}})
    assert (seen.claim, seen.outputs) == (Claim.SUCCEEDED, ())


@pytest.mark.parametrize(
    "body",
    [
        {"status": "error", "message": "internal"},
        {"status": "failed"},
        {"status": "success", "data": {"task_id": JOB}},
        {"status": "failed", "data": {"task_id": JOB, "status": "IN_PROGRESS"}},
        {"id": "other", "status": "failed"},
        {"data": {"task_id": "other", "status": "COMPLETED", "video_url": VIDEO}},
        {"code": 500, "data": {"status": "FAILED"}},
    ],
)
def test_no_job_ends_on_an_answer_that_may_not_be_about_it(body: object) -> None:
    assert asked(body).claim in (Claim.UNKNOWN, Claim.RUNNING, Claim.UNREACHABLE)


@pytest.mark.parametrize(
    "body, reason",
    [
        ({"error": {"message": "one"}, "data": {"status": "FAILED", "error": "two"}}, "one"),
        ({"data": {"status": "FAILED", "error": {"message": "two"}}}, "two"),
        ({"data": {"status": "FAILED", "error": "three", "fail_reason": "four"}}, "three"),
        ({"data": {"status": "FAILED", "fail_reason": "four"}}, "four"),
        ({"code": 200, "message": "success", "data": {"status": "FAILED"}}, None),
        ({"message": "five", "data": {"status": "FAILED"}}, "five"),
    ],
)
def test_the_reason_is_the_first_that_is_one(body: object, reason: str | None) -> None:
    failure = asked(body).failure
    assert failure is not None and failure.provider_message == reason


def test_a_lost_purchase_cannot_be_found_again_and_no_push_is_believed() -> None:
    asks, seen = walk(APIINONE.look_up(account("apiinone"), task("apiinone"), CLUES))
    assert (asks, seen.claim) == ([], Claim.UNREACHABLE)
    traits = APIINONE.traits
    assert not (traits.look_up or traits.callbacks or traits.resend)
    assert APIINONE.read(push({"task_id": JOB, "status": "COMPLETED"})).claim is Claim.UNKNOWN
    assert not APIINONE.signed(push(b"{}"), "whsec_dGVzdA==", 0)
