from __future__ import annotations

from typing import Any

import pytest

from service.sandbox.order import Refused
from service.sandbox.ulazai_body import read_order

TEXT: dict[str, Any] = {
    "prompt": "A cyclist in the rain.",
    "generationMode": "text_to_video",
    "durationSeconds": 8,
    "qualityMode": "pro",
    "sound": True,
    "multiShots": True,
    "aspectRatio": "16:9",
    "prompt_directory_optin": True,
}
IMAGE: dict[str, Any] = {
    "prompt": "The portrait smiles.",
    "generationMode": "image_to_video",
    "imageUrls": ["https://example.com/source.jpg"],
    "durationSeconds": 5,
    "qualityMode": "std",
    "sound": False,
    "startFrameUrl": "https://example.com/start.jpg",
    "endFrameUrl": "https://example.com/end.jpg",
}
FRAMES = {"imageUrls", "startFrameUrl", "endFrameUrl"}


def without(body: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in names}


def test_documented_samples_are_taken_whole() -> None:
    assert read_order(TEXT).ignored == ()
    assert read_order(IMAGE).ignored == ()


@pytest.mark.parametrize(
    ("quality", "sound", "seconds", "optin", "cost"),
    [
        ("pro", True, 8, True, 310),
        ("pro", True, 10, True, 390),
        ("std", False, 3, False, 60),
        ("std", True, 15, False, 450),
        ("pro", False, 5, False, 135),
    ],
)
def test_price_is_the_rate_times_seconds_less_ten_for_the_directory(
    quality: str, sound: bool, seconds: int, optin: bool, cost: int
) -> None:
    body = {"qualityMode": quality, "sound": sound, "durationSeconds": seconds, "prompt_directory_optin": optin}
    assert read_order(TEXT | body).credits == cost


def test_missing_opt_in_publishes() -> None:
    assert read_order(without(TEXT, "prompt_directory_optin")).effective["prompt_directory_optin"] is True
    assert read_order(TEXT | {"prompt_directory_optin": False}).effective["prompt_directory_optin"] is False


@pytest.mark.parametrize("name", ["prompt", "generationMode", "durationSeconds", "qualityMode"])
def test_required_field_is_asked_for_by_name(name: str) -> None:
    with pytest.raises(Refused, match=f"{name} is required"):
        read_order(without(TEXT, name))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt", ""),
        ("prompt", "x" * 2_501),
        ("prompt", None),
        ("generationMode", "tekst_naar_video"),
        ("generationMode", []),
        ("durationSeconds", "8"),
        ("durationSeconds", True),
        ("durationSeconds", 8.0),
        ("durationSeconds", 2),
        ("durationSeconds", 16),
        ("qualityMode", "standard"),
        ("sound", "true"),
        ("multiShots", 1),
        ("aspectRatio", "4:3"),
        ("imageUrls", "https://example.com/a.jpg"),
        ("imageUrls", ["a.jpg"]),
        ("startFrameUrl", "data:image/png;base64,AAAA"),
        ("endFrameUrl", None),
        ("prompt_directory_optin", "false"),
    ],
)
def test_wrong_value_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(Refused, match=f"{name} must be"):
        read_order(TEXT | {name: value})


@pytest.mark.parametrize("frame", ["startFrameUrl", "endFrameUrl"])
def test_aspect_ratio_is_forbidden_beside_a_frame(frame: str) -> None:
    with pytest.raises(Refused, match="aspectRatio is not allowed"):
        read_order(without(IMAGE, *(FRAMES - {frame})) | {"aspectRatio": "1:1"})
    assert read_order(without(IMAGE, "startFrameUrl", "endFrameUrl") | {"aspectRatio": "1:1"})


def test_image_to_video_needs_an_image_or_a_frame() -> None:
    for empty in (without(IMAGE, *FRAMES), without(IMAGE, *FRAMES) | {"imageUrls": []}):
        with pytest.raises(Refused, match="needs imageUrls or a frame"):
            read_order(empty)
    for one in FRAMES:
        assert read_order(without(IMAGE, *(FRAMES - {one})))


def test_snake_case_and_pictures_in_text_mode_are_ignored_and_named() -> None:
    order = read_order(TEXT | {"duration_seconds": 3, "imageUrls": ["https://example.com/a.jpg"]})
    assert order.ignored == ("/duration_seconds", "/imageUrls")
    assert order.effective["durationSeconds"] == 8
