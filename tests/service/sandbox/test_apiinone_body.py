from __future__ import annotations

from typing import Any

import pytest

from service.sandbox.apiinone_body import read_order
from service.sandbox.order import Refused

PLAIN: dict[str, Any] = {"model": "kling-3", "prompt": "A tram climbs a steep street."}
SHOTS: dict[str, Any] = {
    "model": "kling-3",
    "multi_shots": True,
    "duration": 8,
    "multi_prompt": [{"prompt": "A tram.", "duration": 3}, {"prompt": "A street.", "duration": 5}],
}


def test_documented_sample_is_taken_whole() -> None:
    body = PLAIN | {"mode": "std", "duration": 5, "aspect_ratio": "16:9", "sound": True}
    assert read_order(body).ignored == ()


def test_sound_left_out_is_on_and_dearer_by_half() -> None:
    silent, left_out = read_order(PLAIN | {"sound": False}), read_order(PLAIN)
    assert [int(order.credits) for order in (silent, left_out)] == [200, 300]
    assert (left_out.effective["sound"], left_out.effective["cost"]) == (True, 300)


@pytest.mark.parametrize(
    ("mode", "sound", "seconds", "cost"),
    [("std", False, 3, 120), ("std", True, 10, 600), ("pro", False, 5, 270), ("pro", True, 15, 1_200)],
)
def test_price_is_the_rate_times_seconds(mode: str, sound: bool, seconds: int, cost: int) -> None:
    assert read_order(PLAIN | {"mode": mode, "sound": sound, "duration": seconds}).credits == cost


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", "kling-v3"),
        ("prompt", "x" * 2_501),
        ("mode", "4k"),
        ("duration", "5"),
        ("duration", 2),
        ("duration", 16),
        ("duration", 5.5),
        ("aspect_ratio", "4:3"),
        ("sound", 1),
        ("image", ["https://a.example.org/a.png"]),
        ("image", "a.png"),
        ("multi_shots", "true"),
        ("multi_prompt", {"prompt": "x"}),
        ("kling_elements", ["@cat"]),
    ],
)
def test_wrong_value_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(Refused, match=f"{name} must be"):
        read_order(PLAIN | {name: value})


def test_model_and_prompt_are_asked_for_by_name() -> None:
    with pytest.raises(Refused, match="model is required"):
        read_order({"prompt": "A tram"})
    with pytest.raises(Refused, match="prompt is required unless"):
        read_order({"model": "kling-3"})


def test_shots_stand_in_for_the_prompt_and_name_the_purchase() -> None:
    assert read_order(SHOTS).prompt == "A tram. / A street."


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"multi_prompt": []}, "needs multi_prompt"),
        ({"duration": 9}, "sum to 9"),
        ({"multi_prompt": [{"prompt": "A tram.", "duration": "8"}]}, r"multi_prompt\[0\]"),
        ({"multi_prompt": [{"prompt": "A tram.", "duration": 8, "index": 1}]}, r"multi_prompt\[0\]"),
        ({"multi_prompt": [{"prompt": "", "duration": 8}]}, r"multi_prompt\[0\]"),
    ],
)
def test_shots_that_do_not_fit_are_refused(change: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused, match=why):
        read_order(SHOTS | change)


def test_what_has_no_effect_is_named() -> None:
    order = read_order(PLAIN | {"multi_prompt": SHOTS["multi_prompt"], "callback_url": "https://a.example.org/hook"})
    assert set(order.ignored) == {"/multi_prompt", "/callback_url"}
