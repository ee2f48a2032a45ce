from __future__ import annotations

from typing import Any

import pytest

from service.sandbox.order import Refused
from service.sandbox.ulazai26_body import read_order

TEXT: dict[str, Any] = {
    "prompt": "A dog runs through a field.",
    "generationMode": "text_to_video",
    "duration": "5",
    "aspectRatio": "16:9",
    "sound": True,
}
IMAGE: dict[str, Any] = {
    "prompt": "The dog starts running.",
    "generationMode": "image_to_video",
    "imageUrls": ["https://example.com/dog.jpg"],
    "duration": "5",
    "sound": False,
}


def test_documented_samples_are_taken_whole() -> None:
    assert read_order(TEXT).ignored == ()
    assert read_order(IMAGE).ignored == ()


@pytest.mark.parametrize(
    ("duration", "sound", "optin", "cost"),
    [
        ("5", False, False, 55),
        ("10", False, False, 110),
        ("5", True, False, 110),
        ("10", True, False, 220),
        ("5", False, True, 45),
        ("10", True, True, 210),
    ],
)
def test_price_is_the_table_less_ten_for_the_directory(duration: str, sound: bool, optin: bool, cost: int) -> None:
    asked = {"duration": duration, "sound": sound, "prompt_directory_optin": optin}
    assert read_order(TEXT | asked).credits == cost


def test_defaults_are_those_of_the_page_and_publish() -> None:
    order = read_order({"prompt": "A dog", "generationMode": "text_to_video"})
    assert order.effective == {
        "prompt": "A dog",
        "generationMode": "text_to_video",
        "duration": "5",
        "aspectRatio": "16:9",
        "sound": False,
        "prompt_directory_optin": True,
        "cost": 45,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt", "x" * 2_001),
        ("prompt", " "),
        ("generationMode", "tekst_naar_video"),
        ("duration", 5),
        ("duration", "7"),
        ("aspectRatio", "4:3"),
        ("sound", "false"),
        ("imageUrls", ["dog.jpg"]),
        ("prompt_directory_optin", None),
    ],
)
def test_wrong_value_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(Refused, match=f"{name} must be"):
        read_order(TEXT | {name: value})


def test_prompt_of_two_thousand_characters_is_the_longest() -> None:
    assert read_order(TEXT | {"prompt": "é" * 2_000})


@pytest.mark.parametrize("pictures", [None, [], ["https://a.example.org/1.png", "https://a.example.org/2.png"]])
def test_image_to_video_takes_exactly_one_picture(pictures: list[str] | None) -> None:
    body = {name: value for name, value in IMAGE.items() if name != "imageUrls"}
    with pytest.raises(Refused, match="exactly 1"):
        read_order(body if pictures is None else body | {"imageUrls": pictures})


def test_fields_of_the_other_contract_and_of_the_other_mode_have_no_effect_and_are_named() -> None:
    order = read_order(TEXT | {"qualityMode": "pro", "durationSeconds": 8, "imageUrls": IMAGE["imageUrls"]})
    assert set(order.ignored) == {"/qualityMode", "/durationSeconds", "/imageUrls"}
    assert read_order(IMAGE | {"aspectRatio": "1:1"}).ignored == ("/aspectRatio",)
