from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from service.sandbox.acedata_body import read_order
from service.sandbox.jobs import RETIRED
from service.sandbox.order import Refused

PICTURE, LAST = "https://assets.example.org/a.png", "https://assets.example.org/b.png"
TEXT: dict[str, Any] = {"action": "text2video", "model": "kling-v3", "prompt": "A mug on a counter."}
ASYNC: dict[str, Any] = TEXT | {"async": True}
IMAGE: dict[str, Any] = TEXT | {"action": "image2video", "start_image_url": PICTURE}
CAMERA = {"type": "simple", "config": {"zoom": 0.5, "pan": -1}}


def refusal(body: dict[str, Any], retired: tuple[str, ...] = ()) -> str:
    with pytest.raises(Refused) as caught:
        read_order(body, retired)
    assert (caught.value.status, caught.value.code) == (400, "bad_request")
    return str(caught.value)


def test_documented_request_is_taken_whole() -> None:
    body = {
        "action": "image2video",
        "model": "kling-v3",
        "mode": "pro",
        "prompt": "Snow starts to fall on the roofs.",
        "duration": 6,
        "generate_audio": False,
        "start_image_url": PICTURE,
        "callback_url": "https://cb.example.org/hook/ace/token",
    }
    order = read_order(body, RETIRED)
    assert (order.ignored, order.callback_url, order.sent) == ((), body["callback_url"], body)


def test_model_left_out_is_one_that_is_retired() -> None:
    body = {name: value for name, value in TEXT.items() if name != "model"}
    assert refusal(body, RETIRED) == "model kling-v1 is retired"


@pytest.mark.parametrize("model", ["kling-v1", "kling-v1-6", "kling-v2-master", "kling-v2-1-master"])
def test_retired_model_is_refused_unless_the_list_is_emptied(model: str) -> None:
    assert "retired" in refusal(TEXT | {"model": model}, RETIRED)
    assert read_order(TEXT | {"model": model}, ())


@pytest.mark.parametrize("model", ["kling-video-o1", "kling-v9", ""])
def test_unknown_model_is_refused(model: str) -> None:
    assert "not available" in refusal(TEXT | {"model": model})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("action", "generate"),
        ("mode", "standard"),
        ("prompt", ""),
        ("prompt", "x" * 2_501),
        ("duration", "5"),
        ("duration", 5.0),
        ("generate_audio", "true"),
        ("aspect_ratio", "4:3"),
        ("negative_prompt", "x" * 201),
        ("cfg_scale", "0.5"),
        ("cfg_scale", 1.1),
        ("camera_control", "<string>"),
        ("camera_control", {"type": "spin"}),
        ("camera_control", {"type": "simple", "config": {"zoom": 2}}),
        ("camera_control", {"type": "simple", "config": {"yaw": 0}}),
        ("video_list", "<array>"),
        ("callback_url", "ftp://cb.example.org"),
        ("async", "true"),
        ("timeout", 0),
    ],
)
def test_wrong_value_is_refused_by_name(name: str, value: object) -> None:
    assert refusal(TEXT | {name: value}).startswith(f"{name} must be")


@pytest.mark.parametrize(
    ("model", "taken"),
    [
        ("kling-v3", {3, 5, 10, 15}),
        ("kling-v3-omni", {3, 5, 10, 15}),
        ("kling-v3-turbo", {3, 5, 10, 15}),
        ("kling-o1", {5}),
        ("kling-v2-6", {5, 10}),
        ("kling-v2-5-turbo", {5, 10}),
        ("kling-v1-6", {5, 10}),
    ],
)
def test_seconds_depend_on_the_model(model: str, taken: set[int]) -> None:
    for seconds in (2, 3, 5, 10, 15, 16):
        body = TEXT | {"model": model, "duration": seconds}
        if seconds in taken:
            assert read_order(body, ()).effective["duration"] == seconds
        else:
            assert "duration must be" in refusal(body)


@pytest.mark.parametrize(
    "body",
    [
        TEXT | {"mode": "4k"},
        TEXT | {"model": "kling-v3-omni", "mode": "4k"},
        TEXT | {"generate_audio": True},
        TEXT | {"model": "kling-v2-6", "mode": "pro", "generate_audio": True},
        TEXT | {"model": "kling-v3-turbo", "generate_audio": True},
        TEXT | {"model": "kling-v2-5-turbo", "generate_audio": False},
        TEXT | {"mode": "pro", "camera_control": CAMERA},
        TEXT | {"model": "kling-v1", "camera_control": CAMERA},
        IMAGE | {"end_image_url": LAST},
        IMAGE | {"model": "kling-o1", "end_image_url": LAST},
        IMAGE | {"model": "kling-v2-5-turbo", "mode": "pro", "end_image_url": LAST},
        IMAGE | {"model": "kling-v1", "end_image_url": LAST},
        TEXT | {"cfg_scale": 0.5, "negative_prompt": "blur"},
        {"action": "extend", "model": "kling-v2-5-turbo", "video_id": "8910"},
    ],
)
def test_what_the_model_has_is_taken(body: dict[str, Any]) -> None:
    assert read_order(body, ()).ignored == ()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (TEXT | {"model": "kling-v3-turbo", "mode": "4k"}, "mode 4k"),
        (TEXT | {"model": "kling-v2-6", "mode": "4k"}, "mode 4k"),
        (TEXT | {"mode": "4k", "camera_control": CAMERA}, "camera_control"),
        (IMAGE | {"model": "kling-v3-omni", "mode": "4k", "image_list": [{"image_url": LAST}]}, "mode 4k"),
        (TEXT | {"model": "kling-v2-6", "generate_audio": True}, "generate_audio"),
        (TEXT | {"model": "kling-v2-5-turbo", "generate_audio": True}, "generate_audio"),
        (TEXT | {"model": "kling-o1", "generate_audio": True}, "generate_audio"),
        (TEXT | {"model": "kling-v3-turbo", "generate_audio": False}, "always has audio"),
        (TEXT | {"model": "kling-v2-6", "camera_control": CAMERA}, "camera_control"),
        (TEXT | {"model": "kling-v1", "duration": 10, "camera_control": CAMERA}, "camera_control"),
        (IMAGE | {"camera_control": CAMERA}, "together with start_image_url"),
        (TEXT | {"end_image_url": LAST}, "needs start_image_url"),
        (IMAGE | {"model": "kling-v3-turbo", "end_image_url": LAST}, "end_image_url"),
        (IMAGE | {"model": "kling-v2-master", "end_image_url": LAST}, "end_image_url"),
        (IMAGE | {"model": "kling-v2-6", "end_image_url": LAST}, "end_image_url"),
        (IMAGE | {"model": "kling-v1", "duration": 10, "end_image_url": LAST}, "end_image_url"),
        (TEXT | {"model": "kling-o1", "negative_prompt": "blur"}, "negative_prompt"),
        (TEXT | {"model": "kling-v3-omni", "cfg_scale": 1, "image_list": [{"image_url": LAST}]}, "cfg_scale"),
        (TEXT | {"action": "image2video"}, "needs start_image_url"),
        ({"action": "text2video", "model": "kling-v3"}, "prompt is required"),
        ({"model": "kling-v3", "prompt": "A mug"}, "action is required"),
        (TEXT | {"action": "extend", "video_id": "8910"}, "extend is not supported"),
        (TEXT | {"action": "extend", "model": "kling-v2-5-turbo"}, "needs video_id"),
        (TEXT | {"element_list": []}, "element_list"),
    ],
)
def test_what_the_model_has_not_is_refused_by_name(body: dict[str, Any], why: str) -> None:
    assert why in refusal(body)


def test_fields_of_another_action_and_unknown_ones_have_no_effect_and_are_named() -> None:
    order = read_order(TEXT | {"start_image_url": PICTURE, "external_task_id": "task_1"}, ())
    assert order.ignored == ("/external_task_id", "/start_image_url")
    assert "start_image_url" not in order.effective


def test_pro_costs_twice_as_much_as_std() -> None:
    std, pro = (read_order(TEXT | {"mode": mode, "duration": 10}, ()).credits for mode in ("std", "pro"))
    assert (std, pro) == (Decimal("4.20"), Decimal("8.40"))


def test_audio_that_cannot_be_switched_off_is_told_as_on() -> None:
    told = [
        read_order(TEXT | {"model": model}, ()).effective["generate_audio"] for model in ("kling-v3", "kling-v3-turbo")
    ]
    assert told == [False, True]


def test_token_in_the_callback_url_is_not_among_what_was_understood() -> None:
    order = read_order(TEXT | {"callback_url": "https://cb.example.org/hush"}, ())
    assert "hush" not in repr(order.effective)
