"""UlazAI's traps, each by name: what is always said, which fields exclude each other, replies read leniently."""

from __future__ import annotations

from decimal import Decimal

import pytest

from service.core.observation import Claim, Reading
from service.core.request import Invalid
from service.providers.base import Ask, Reply
from service.providers.registry import PROVIDERS
from tests.service.providers.builders import CLUES, TASK_ID, account, push, reply, request, task, walk

ULAZAI = PROVIDERS["ulazai"]
JOB = "0f0b5a0e-52c7-4b0e-9d43-0a4a3bb1c001"
IMAGE, LAST = "https://assets.example.org/a.png", "https://assets.example.org/b.png"


def sent(input: dict[str, object], options: dict[str, object] | None = None) -> Ask:
    one = task("ulazai", input=input, options=options)
    return walk(ULAZAI.submit(account("ulazai"), one, None), Reply(status=503))[0][0]


def bought(answer: Reply) -> Reading:
    return walk(ULAZAI.submit(account("ulazai"), task("ulazai"), None), answer)[1]


def asked(answer: Reply) -> Reading:
    return walk(ULAZAI.query(account("ulazai"), [task("ulazai", job=JOB)]), answer)[1][TASK_ID]


def faults(input: dict[str, object], options: dict[str, object] | None = None) -> dict[str, str]:
    with pytest.raises(Invalid) as told:
        ULAZAI.prepare(request("ulazai", input, provider_options=options or {}))
    return {fault.pointer: fault.detail for fault in told.value.faults}


def test_a_text_purchase_says_everything_that_a_default_could_decide() -> None:
    ask = sent({"prompt": "A tram."})
    assert (ask.method, ask.path) == ("POST", "/kling30/api/generate/")
    assert ask.body == {
        "prompt": "A tram.",
        "generationMode": "text_to_video",
        "durationSeconds": 5,
        "qualityMode": "std",
        "sound": False,
        "multiShots": False,
        "aspectRatio": "16:9",
        "prompt_directory_optin": False,
    }


def test_nothing_is_published_unless_the_client_asked_for_it() -> None:
    for input, published in (({}, False), ({"share_publicly": False}, False), ({"share_publicly": True}, True)):
        body = sent({"prompt": "A.", **input}).body
        assert body is not None and body["prompt_directory_optin"] is published


def test_frames_and_images_go_where_they_belong_and_make_it_image_to_video() -> None:
    body = sent(
        {"prompt": "A.", "image": IMAGE, "end_image": LAST, "images": [LAST], "mode": "pro", "sound": True}
    ).body
    assert body == {
        "prompt": "A.",
        "generationMode": "image_to_video",
        "durationSeconds": 5,
        "qualityMode": "pro",
        "sound": True,
        "multiShots": False,
        "startFrameUrl": IMAGE,
        "endFrameUrl": LAST,
        "imageUrls": [LAST],
        "prompt_directory_optin": False,
    }


def test_an_aspect_ratio_beside_frames_is_refused_before_it_costs_a_400() -> None:
    told = faults({"prompt": "A.", "image": IMAGE, "aspect_ratio": "1:1"})
    detail = "ulazai/kling-3.0 takes none together with start or end images. Leave it out."
    assert told == {"/input/aspect_ratio": detail}
    assert list(faults({"prompt": "A.", "end_image": IMAGE, "aspect_ratio": "1:1"})) == ["/input/aspect_ratio"]


def test_an_aspect_ratio_beside_other_images_is_passed_on_but_never_made_up() -> None:
    said = sent({"prompt": "A.", "images": [IMAGE], "aspect_ratio": "9:16"}).body
    unsaid = sent({"prompt": "A.", "images": [IMAGE]}).body
    assert said is not None and said["aspectRatio"] == "9:16"
    assert unsaid is not None and "aspectRatio" not in unsaid


def test_multi_shots_is_a_native_switch_and_takes_only_a_yes_or_no() -> None:
    body = sent({"prompt": "A."}, {"multiShots": True}).body
    assert body is not None and body["multiShots"] is True
    assert list(faults({"prompt": "A."}, {"multiShots": "yes"})) == ["/provider_options/multiShots"]


def test_mode_is_a_synonym_of_quality_and_may_not_contradict_it() -> None:
    assert ULAZAI.prepare(request("ulazai", {"prompt": "A.", "mode": "pro"})).input["quality"] == "pro"
    assert list(faults({"prompt": "A.", "mode": "std", "quality": "pro"})) == ["/input/mode"]
    assert list(faults({"prompt": "A.", "mode": "standaard"})) == ["/input/mode"]


def test_each_bad_image_is_pointed_at() -> None:
    told = faults({"prompt": "A.", "images": [IMAGE, "file:///x"], "end_image": "data:x"})
    assert set(told) == {"/input/images/1", "/input/end_image"}
    assert list(faults({"prompt": "A.", "images": [IMAGE] * 11})) == ["/input/images"]


def test_words_of_other_contracts_are_refused_with_those_that_have_them() -> None:
    told = faults({"prompt": "A.", "resolution": "720p", "shots": [{"prompt": "A.", "duration": 5}]})
    assert "cloudsway/kling-3.0-turbo has it" in told["/input/resolution"]
    assert "cloudsway/kling-3.0-turbo, acedata/kling-v3 and apiinone/kling-3 have it" in told["/input/shots"]


@pytest.mark.parametrize(
    "quality, sound, seconds, shared, credits",
    [
        ("standard", False, 3, False, 60),
        ("standard", True, 5, False, 150),
        ("pro", False, 15, False, 405),
        ("pro", True, 15, False, 600),
        ("pro", True, 8, True, 310),
        ("pro", True, 10, True, 390),
    ],
)
def test_the_estimate_follows_the_price_table(
    quality: str, sound: bool, seconds: int, shared: bool, credits: int
) -> None:
    input = {"prompt": "A.", "quality": quality, "sound": sound, "duration": seconds, "share_publicly": shared}
    estimate = ULAZAI.prepare(request("ulazai", input)).estimate
    assert (estimate.unit, estimate.amount) == ("credit", Decimal(credits))


@pytest.mark.parametrize("id", ["../x", "a/b", "a?b", "", None, 1.5, "a" * 129, "a b", "é"])
def test_an_answer_whose_id_cannot_be_asked_for_is_ambiguous(id: object) -> None:
    assert bought(reply({"success": True, "task_id": id})).claim is Claim.AMBIGUOUS


def test_the_upstreams_id_is_never_taken_for_the_jobs() -> None:
    assert (
        bought(reply({"success": True, "provider_task_id": "9b1c42", "status": "processing"})).claim is Claim.AMBIGUOUS
    )


@pytest.mark.parametrize("status", [200, 201, 202, 500])
def test_an_id_in_the_answer_is_the_proof_whatever_the_2xx_or_5xx(status: int) -> None:
    assert bought(reply({"success": status < 300, "task_id": JOB}, status)).provider_task_id == JOB


def test_success_false_without_an_id_proves_nothing() -> None:
    assert bought(reply({"success": False, "error": "try later"})).claim is Claim.AMBIGUOUS


def test_a_job_is_asked_for_one_at_a_time_with_the_trailing_slash() -> None:
    tasks = [task("ulazai", id="task_a", job="a"), task("ulazai", id="task_b", job="b")]
    running = reply({"status": "processing"})
    asks, seen = walk(ULAZAI.query(account("ulazai"), tasks), running, running)
    assert [ask.path for ask in asks] == ["/kling30/api/status/a/", "/kling30/api/status/b/"]
    assert {each.claim for each in seen.values()} == {Claim.RUNNING}


def test_status_is_believed_before_success() -> None:
    assert asked(reply({"success": True, "status": "failed", "error_message": "m"})).claim is Claim.FAILED
    assert asked(reply({"success": False, "status": "processing"})).claim is Claim.RUNNING
    assert asked(reply({"success": False, "error": "x"})).claim is Claim.UNKNOWN
    assert (
        asked(reply({"success": True, "status": "voltooid", "video_url": "https://a.example/x.mp4"})).claim
        is Claim.UNKNOWN
    )


@pytest.mark.parametrize(
    "body, reason",
    [
        ({"error_message": "one", "error": "two", "message": "three"}, "one"),
        ({"error_message": "", "error": "two", "message": "three"}, "two"),
        ({"error": {"message": "inner"}, "message": "three"}, "inner"),
        ({"message": "three"}, "three"),
        ({}, None),
    ],
)
def test_the_reason_is_the_first_of_three_places(body: dict[str, object], reason: str | None) -> None:
    failure = asked(reply({"status": "failed", **body})).failure
    assert failure is not None and failure.provider_message == reason


def test_fields_under_data_are_read_as_well() -> None:
    body = {"task_id": JOB, "status": "completed", "video_url": "https://cdn.ulazai.com/x.mp4", "duration": 10}
    seen = asked(reply({"success": True, "data": body}))
    assert [(output.url, output.duration) for output in seen.outputs] == [("https://cdn.ulazai.com/x.mp4", "10")]


def test_an_answer_about_another_job_is_not_believed() -> None:
    assert asked(reply({"task_id": "other", "status": "failed"})).claim is Claim.UNKNOWN


def test_completed_without_a_usable_link_is_a_success_word_with_no_outputs() -> None:
    for link in (None, "", "http://cdn.example.org/x.mp4", 7):
        seen = asked(reply({"status": "completed", "video_url": link}))
        assert (seen.claim, seen.outputs) == (Claim.SUCCEEDED, ())


def test_not_found_is_an_absence_and_no_failure() -> None:
    assert asked(Reply(status=404, body=b"<html>")).claim is Claim.ABSENT


def test_a_lost_purchase_cannot_be_found_again_and_no_push_is_believed() -> None:
    asks, seen = walk(ULAZAI.look_up(account("ulazai"), task("ulazai"), CLUES))
    assert (asks, seen.claim) == ([], Claim.UNREACHABLE)
    assert not ULAZAI.traits.look_up and not ULAZAI.traits.callbacks
    assert ULAZAI.read(push({"task_id": JOB, "status": "completed"})).claim is Claim.UNKNOWN
    assert not ULAZAI.signed(push(b"{}"), "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI=", 0)
