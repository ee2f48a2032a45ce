"""AceData's rules, model by model, checked before anything is bought, and the request that they make."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from service.core.request import Invalid
from service.providers.base import Prepared, Reply
from service.providers.registry import PROVIDERS
from tests.service.providers.builders import CALLBACK_URL, account, request, task, walk

ACEDATA = PROVIDERS["acedata"]
IMAGE, LAST, CLIP = "https://a.example.org/a.png", "https://a.example.org/b.png", "https://a.example.org/c.mp4"
LONG, SHORT = {"kling-v3", "kling-v3-omni", "kling-v3-turbo"}, {"kling-o1"}
SHOTS = [{"prompt": "A.", "duration": 2}, {"prompt": "B.", "duration": 3}]
CITED = "<<<image_1>>> meets <<<image_2>>>."

every_model = pytest.mark.parametrize("model", ACEDATA.models)


def prepared(model: str, input: Mapping[str, object], options: Mapping[str, object] | None = None) -> Prepared:
    return ACEDATA.prepare(request("acedata", input, model=model, provider_options=options or {}))


def faults(model: str, input: Mapping[str, object], options: Mapping[str, object] | None = None) -> dict[str, str]:
    with pytest.raises(Invalid) as told:
        prepared(model, input, options)
    return {fault.pointer: fault.detail for fault in told.value.faults}


def sent(
    model: str,
    input: Mapping[str, object],
    options: Mapping[str, object] | None = None,
    callback_url: str | None = None,
) -> dict[str, object]:
    one = task("acedata", model=model, input=input, options=options)
    [ask] = walk(ACEDATA.submit(account("acedata"), one, callback_url), Reply(status=503))[0]
    assert (ask.method, ask.path, ask.paid) == ("POST", "/kling/videos", True)
    assert ask.body is not None
    return dict(ask.body)


# What is sent


def test_a_text_purchase_says_everything_that_a_default_could_decide() -> None:
    assert sent("kling-v3", {"prompt": "A."}) == {
        "action": "text2video",
        "model": "kling-v3",
        "mode": "std",
        "prompt": "A.",
        "duration": 5,
        "generate_audio": False,
        "aspect_ratio": "16:9",
        "async": True,
    }


@every_model
def test_no_purchase_is_ever_made_synchronously(model: str) -> None:
    with_url = sent(model, {"prompt": "A."}, callback_url=CALLBACK_URL)
    assert with_url["callback_url"] == CALLBACK_URL and "async" not in with_url
    without = sent(model, {"prompt": "A."})
    assert without["async"] is True and "callback_url" not in without


@every_model
def test_model_and_audio_are_always_said(model: str) -> None:
    body = sent(model, {"prompt": "A."})
    assert body["model"] == model
    assert body["generate_audio"] is (model == "kling-v3-turbo")


def test_the_first_frame_makes_it_image2video_and_invents_no_aspect_ratio() -> None:
    body = sent("kling-v3", {"prompt": "A.", "image": IMAGE, "end_image": LAST, "mode": "pro", "sound": True})
    assert (body["action"], body["start_image_url"], body["end_image_url"]) == ("image2video", IMAGE, LAST)
    assert (body["mode"], body["generate_audio"], "aspect_ratio" in body) == ("pro", True, False)


def test_a_video_id_makes_it_extend_and_needs_no_prompt() -> None:
    body = sent("kling-v1-6", {"video_id": "891000000000000021"})
    assert (body["action"], body["video_id"]) == ("extend", "891000000000000021")
    assert "prompt" not in body and "aspect_ratio" not in body


def test_shots_become_a_customized_multi_prompt_with_numbers_from_one() -> None:
    body = sent("kling-v3", {"shots": SHOTS})
    assert (body["multi_shot"], body["shot_type"], body["duration"]) == (True, "customize", 5)
    assert body["multi_prompt"] == [
        {"index": 1, "prompt": "A.", "duration": 2},
        {"index": 2, "prompt": "B.", "duration": 3},
    ]
    assert "prompt" not in body


def test_kling_may_choose_the_shots_itself() -> None:
    body = sent("kling-v3-omni", {"prompt": "A."}, {"shot_type": "intelligence"})
    assert (body["multi_shot"], body["shot_type"], body["prompt"]) == (True, "intelligence", "A.")
    assert "multi_prompt" not in body
    assert list(faults("kling-v3", {"shots": SHOTS}, {"shot_type": "intelligence"})) == ["/provider_options/shot_type"]
    assert list(faults("kling-v3", {"prompt": "A."}, {"shot_type": "customize"})) == ["/provider_options/shot_type"]
    assert list(faults("kling-v3", {"prompt": "A."}, {"shot_type": True})) == ["/provider_options/shot_type"]


def test_references_come_before_frames_so_that_their_numbers_are_the_clients() -> None:
    body = sent("kling-v3-omni", {"prompt": CITED, "images": [IMAGE, LAST], "image": LAST, "end_image": IMAGE})
    assert body["action"] == "text2video"
    assert body["image_list"] == [
        {"image_url": IMAGE},
        {"image_url": LAST},
        {"image_url": LAST, "type": "first_frame"},
        {"image_url": IMAGE, "type": "end_frame"},
    ]
    assert "start_image_url" not in body and "end_image_url" not in body


def test_a_reference_video_travels_in_its_native_form() -> None:
    video = {"video_url": CLIP, "keep_original_sound": "no"}
    body = sent("kling-o1", {"prompt": "Make <<<video_1>>> blue."}, {"video_list": [video]})
    assert body["video_list"] == [{"refer_type": "base", **video}]
    assert (body["action"], body["generate_audio"], "aspect_ratio" in body) == ("text2video", False, False)


def test_a_camera_travels_as_camera_control() -> None:
    camera = {"type": "simple", "config": {"zoom": 0.5}}
    assert sent("kling-v3", {"prompt": "A.", "camera": camera})["camera_control"] == camera


def test_the_tuning_words_travel_under_their_own_names() -> None:
    body = sent("kling-v2-6", {"prompt": "A.", "negative_prompt": "fog", "cfg_scale": 0.4})
    assert (body["negative_prompt"], body["cfg_scale"]) == ("fog", 0.4)


@every_model
def test_elements_are_never_exposed(model: str) -> None:
    assert list(faults(model, {"prompt": "A."}, {"element_list": []})) == ["/provider_options/element_list"]


# The table


@every_model
@pytest.mark.parametrize("seconds", [2, 3, 4, 5, 7, 10, 15, 16])
def test_each_model_makes_its_own_lengths(model: str, seconds: int) -> None:
    able = 3 <= seconds <= 15 if model in LONG else seconds == 5 if model in SHORT else seconds in (5, 10)
    if able:
        assert prepared(model, {"prompt": "A.", "duration": seconds}).input["duration"] == seconds
    else:
        assert list(faults(model, {"prompt": "A.", "duration": seconds})) == ["/input/duration"]


@every_model
@pytest.mark.parametrize("mode", ["std", "pro", "4k"])
def test_each_model_has_its_own_modes(model: str, mode: str) -> None:
    masters = ("kling-v2-master", "kling-v2-1-master")
    able = mode == "std" or (mode == "pro" and model not in masters) or model in ("kling-v3", "kling-v3-omni")
    if able:
        assert sent(model, {"prompt": "A.", "mode": mode})["mode"] == mode
    else:
        assert list(faults(model, {"prompt": "A.", "mode": mode})) == ["/input/mode"]


@every_model
@pytest.mark.parametrize("mode", ["std", "pro"])
def test_each_model_makes_sound_where_its_row_says_so(model: str, mode: str) -> None:
    if model.endswith("master") and mode == "pro":
        return
    able = model in LONG or (model == "kling-v2-6" and mode == "pro")
    if able:
        assert sent(model, {"prompt": "A.", "mode": mode, "sound": True})["generate_audio"] is True
    else:
        told = faults(model, {"prompt": "A.", "mode": mode, "sound": True})
        assert list(told) == ["/input/sound"]
        assert "kling-v3, kling-v3-omni, kling-v3-turbo, kling-v2-6" in told["/input/sound"]


def test_where_sound_cannot_be_switched_off_silence_is_refused_and_sound_is_echoed() -> None:
    assert prepared("kling-v3-turbo", {"prompt": "A."}).input["sound"] is True
    assert list(faults("kling-v3-turbo", {"prompt": "A.", "sound": False})) == ["/input/sound"]


@every_model
@pytest.mark.parametrize("mode, seconds", [("std", 5), ("pro", 5), ("pro", 10)])
def test_each_model_takes_an_end_image_where_its_row_says_so(model: str, mode: str, seconds: int) -> None:
    if (model.endswith("master") and mode == "pro") or (model == "kling-o1" and seconds == 10):
        return
    pro_only = ("kling-v1-6", "kling-v2-5-turbo", "kling-v2-6")
    able = (
        model in ("kling-v3", "kling-v3-omni", "kling-o1")
        or (model == "kling-v1" and seconds == 5)
        or (model in pro_only and mode == "pro")
    )
    input = {"prompt": "A.", "mode": mode, "duration": seconds, "image": IMAGE, "end_image": LAST}
    if able:
        assert sent(model, input)["end_image_url"] == LAST
    else:
        assert list(faults(model, input)) == ["/input/end_image"]


def test_an_end_image_needs_a_start() -> None:
    assert list(faults("kling-v3", {"prompt": "A.", "end_image": LAST})) == ["/input/end_image"]


@every_model
def test_only_three_models_extend(model: str) -> None:
    if model in ("kling-v1", "kling-v1-6", "kling-v2-5-turbo"):
        assert sent(model, {"prompt": "A.", "video_id": "1"})["action"] == "extend"
        assert list(faults(model, {"prompt": "A.", "action": "extend"})) == ["/input/action"]
        assert list(faults(model, {"video_id": "1", "image": IMAGE})) == ["/input/image"]
    else:
        assert list(faults(model, {"prompt": "A.", "video_id": "1"})) == ["/input/video_id"]
        assert "kling-v1-6" in faults(model, {"prompt": "A.", "action": "extend"})["/input/action"]


def test_the_oldest_model_extends_without_tuning() -> None:
    tuned = {"video_id": "1", "negative_prompt": "fog", "cfg_scale": 0.5}
    assert set(faults("kling-v1", tuned)) == {"/input/negative_prompt", "/input/cfg_scale"}
    assert sent("kling-v1-6", tuned)["cfg_scale"] == 0.5


@pytest.mark.parametrize(
    "model, more, place",
    [
        ("kling-v3", {}, None),
        ("kling-v3", {"mode": "4k"}, "/input/camera"),
        ("kling-v3", {"image": IMAGE}, "/input/camera"),
        ("kling-v1", {}, None),
        ("kling-v1", {"duration": 10}, "/input/camera"),
        ("kling-v1", {"video_id": "1"}, "/input/camera"),
        ("kling-v2-6", {}, "/input/camera"),
        ("kling-v3-omni", {}, "/input/camera"),
        ("kling-v3-turbo", {}, "/input/camera"),
    ],
)
def test_a_camera_moves_where_the_table_lets_it(model: str, more: dict[str, object], place: str | None) -> None:
    input = {"prompt": "A.", "camera": {"type": "down_back"}, **more}
    if place is None:
        assert sent(model, input)["camera_control"] == {"type": "down_back"}
    else:
        assert list(faults(model, input)) == [place]


def test_each_wrong_part_of_a_camera_is_pointed_at() -> None:
    camera = {"type": "spin", "config": {"zoom": 2, "yaw": 0}}
    assert set(faults("kling-v3", {"prompt": "A.", "camera": camera})) == {
        "/input/camera/type",
        "/input/camera/config/zoom",
        "/input/camera/config/yaw",
    }


@pytest.mark.parametrize("model", ["kling-o1", "kling-v3-turbo"])
def test_two_models_take_no_tuning(model: str) -> None:
    told = faults(model, {"prompt": "A.", "negative_prompt": "fog", "cfg_scale": 0.5})
    assert set(told) == {"/input/negative_prompt", "/input/cfg_scale"}


def test_tuning_has_its_limits() -> None:
    assert prepared("kling-v3", {"prompt": "A.", "negative_prompt": "👩" * 200, "cfg_scale": 1})
    told = faults("kling-v3", {"prompt": "A.", "negative_prompt": "👩" * 201, "cfg_scale": 1.01})
    assert set(told) == {"/input/negative_prompt", "/input/cfg_scale"}
    assert "200" in told["/input/negative_prompt"]


def test_shots_are_bounded_add_up_and_leave_no_room_for_a_prompt() -> None:
    def shots(*seconds: int, prompt: str = "A.") -> dict[str, object]:
        return {"shots": [{"prompt": prompt, "duration": each} for each in seconds]}

    assert prepared("kling-v3", shots(1, 1, 1, 1, 1, 1)).input["duration"] == 6
    assert list(faults("kling-v3", {**shots(2, 2), "duration": 5})) == ["/input/shots"]
    assert list(faults("kling-v3", shots(1, 1, 1, 1, 1, 1, 1))) == ["/input/shots"]
    assert list(faults("kling-v3", shots(5, prompt="x" * 513))) == ["/input/shots/0/prompt"]
    assert list(faults("kling-v3", {**shots(5), "prompt": "A."})) == ["/input/prompt"]
    assert "/input/shots" in faults("kling-v2-6", {**shots(5), "prompt": "A."})


@pytest.mark.parametrize("model", ["kling-o1", "kling-v3-omni"])
def test_references_are_counted_with_the_frames(model: str) -> None:
    def images(count: int) -> dict[str, object]:
        cited = " ".join(f"<<<image_{n}>>>" for n in range(1, count + 1))
        return {"prompt": f"{cited} <<<video_1>>>", "images": [IMAGE] * count}

    feature = {"video_list": [{"video_url": CLIP, "refer_type": "feature"}]}
    assert prepared(model, images(7))
    assert list(faults(model, images(8))) == ["/input/images"]
    assert list(faults(model, {**images(6), "image": IMAGE, "end_image": LAST})) == ["/input/images"]
    assert prepared(model, images(4), feature)
    assert list(faults(model, images(5), feature)) == ["/input/images"]
    assert list(faults(model, {**images(4), "image": IMAGE}, feature)) == ["/input/images"]


def test_references_exclude_what_they_do_not_go_with() -> None:
    refer = {"prompt": CITED, "images": [IMAGE, LAST]}
    assert list(faults("kling-v3-omni", {**refer, "mode": "4k"})) == ["/input/mode"]
    assert list(faults("kling-v3-omni", {**refer, "quality": "4k"})) == ["/input/quality"]
    tuned = {**refer, "negative_prompt": "fog", "cfg_scale": 0.5}
    assert set(faults("kling-v3-omni", tuned)) == {"/input/negative_prompt", "/input/cfg_scale"}
    video = {"video_list": [{"video_url": CLIP}]}
    edit = {"prompt": "<<<video_1>>>"}
    assert list(faults("kling-v3-omni", {**edit, "sound": True}, video)) == ["/input/sound"]
    assert set(faults("kling-o1", {**edit, "image": IMAGE, "end_image": LAST}, video)) == {
        "/input/image",
        "/input/end_image",
    }


def test_a_reference_that_the_prompt_does_not_cite_would_be_paid_for_and_ignored() -> None:
    told = faults("kling-o1", {"prompt": "Only <<<image_1>>>.", "images": [IMAGE, LAST]})
    assert list(told) == ["/input/prompt"] and "<<<image_2>>>" in told["/input/prompt"]
    assert list(faults("kling-o1", {"prompt": "A."}, {"video_list": [{"video_url": CLIP}]})) == ["/input/prompt"]


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "x",
        [1],
        [{}],
        [{"video_url": "file:///x"}],
        [{"video_url": CLIP}] * 2,
        [{"video_url": CLIP, "refer_type": "copy"}],
        [{"video_url": CLIP, "keep_original_sound": True}],
        [{"video_url": CLIP, "callback_url": CLIP}],
        [{"video_url": CLIP, "refer_type": ["base"]}],
    ],
)
def test_a_malformed_reference_video_is_pointed_at(value: object) -> None:
    assert set(faults("kling-o1", {"prompt": "<<<video_1>>>"}, {"video_list": value})) == {
        "/provider_options/video_list"
    }


def test_an_action_that_contradicts_the_input_is_refused() -> None:
    assert list(faults("kling-v3", {"prompt": "A.", "action": "image2video"})) == ["/input/action"]
    assert list(faults("kling-v3", {"prompt": "A.", "action": "text2video", "image": IMAGE})) == ["/input/action"]
    assert list(faults("kling-v3", {"prompt": "A.", "action": "dance"})) == ["/input/action"]


def test_prices_are_nowhere_published_so_the_estimate_says_so() -> None:
    estimate = prepared("kling-v3", {"prompt": "A."}).estimate
    assert (estimate.unit, estimate.amount) == ("credit", None)


def test_a_body_is_json_that_can_be_sent() -> None:
    tuned = {"prompt": "A.", "cfg_scale": 0.5, "camera": {"type": "simple", "config": {"pan": -1}}}
    assert json.loads(json.dumps(sent("kling-v3", tuned, callback_url=CALLBACK_URL)))
