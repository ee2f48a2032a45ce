from __future__ import annotations

import base64
from decimal import Decimal
from typing import Any

import pytest

from service.sandbox.cloudsway_body import read_frame_order, read_text_order
from service.sandbox.order import Order, Refused

FRAME = {"type": "first_frame", "url": "https://assets.example.org/f.jpg"}
WORDS = {"type": "prompt", "text": "Leaves begin to fall."}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(32)).decode()


def test_defaults_are_those_of_the_document() -> None:
    order = read_text_order({"prompt": "A boat"})
    assert order == Order(
        prompt="A boat",
        effective={"prompt": "A boat", "aspect_ratio": "16:9", "resolution": "720p", "duration": 5, "watermark": False},
        credits=Decimal("4.0"),
        ignored=(),
    )


def test_documented_samples_are_taken_whole() -> None:
    text = {
        "prompt": "A golden retriever",
        "settings": {"resolution": "1080p", "aspect_ratio": "16:9", "duration": 5},
        "options": {
            "callback_url": "https://cb.example.org/x",
            "external_task_id": "t",
            "watermark_info": {"enabled": False},
        },
    }
    frame = {
        "contents": [FRAME, WORDS],
        "settings": {"resolution": "1080p", "duration": 8},
        "options": {"watermark_info": {}},
    }
    assert read_text_order(text).ignored == ()
    assert read_frame_order(frame).ignored == ()
    assert read_frame_order(frame).prompt == WORDS["text"]


def test_prompt_is_counted_in_characters_not_bytes() -> None:
    assert len(read_text_order({"prompt": "é" * 3_072}).prompt) == 3_072
    with pytest.raises(Refused, match="3072"):
        read_text_order({"prompt": "é" * 3_073})


@pytest.mark.parametrize("url", [PNG, base64.b64encode(b"\xff\xd8\xff" + bytes(9)).decode()])
def test_first_frame_may_be_the_picture_itself(url: str) -> None:
    assert read_frame_order({"contents": [{"type": "first_frame", "url": url}]}).prompt == ""


def test_every_unknown_or_misplaced_field_is_named() -> None:
    body = {
        "prompt": "A boat",
        "external_task_id": "t",
        "settings": {"mode": "pro"},
        "options": {"watermark_info": {"text": "x"}, "duration": 5},
    }
    assert read_text_order(body).ignored == (
        "/external_task_id",
        "/settings/mode",
        "/options/duration",
        "/options/watermark_info/text",
    )
    frame = {"prompt": "lost", "contents": [{**FRAME, "text": "lost"}], "settings": {"aspect_ratio": "1:1"}}
    assert read_frame_order(frame).ignored == ("/prompt", "/contents/0/text", "/settings/aspect_ratio")


@pytest.mark.parametrize(
    "part",
    [
        {"prompt": None},
        {"prompt": "  "},
        {"prompt": 5},
        {"settings": None},
        {"settings": {"resolution": "720P"}},
        {"settings": {"resolution": "480p"}},
        {"settings": {"resolution": ["720p"]}},
        {"settings": {"aspect_ratio": "4:3"}},
        {"settings": {"duration": 2}},
        {"settings": {"duration": 16}},
        {"settings": {"duration": "5"}},
        {"settings": {"duration": 5.0}},
        {"settings": {"duration": True}},
        {"options": []},
        {"options": {"callback_url": "ftp://x.example.org"}},
        {"options": {"callback_url": None}},
        {"options": {"external_task_id": 7}},
        {"options": {"watermark_info": True}},
        {"options": {"watermark_info": {"enabled": "true"}}},
    ],
)
def test_wrong_value_of_a_known_field_is_refused(part: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        read_text_order({"prompt": "A boat", **part})
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "contents",
    [
        None,
        [],
        FRAME,
        [WORDS],
        [FRAME, FRAME],
        [FRAME, WORDS, WORDS],
        [FRAME, {"type": "prompt", "text": ""}],
        [FRAME, {"type": "prompt", "text": "x" * 2_501}],
        [FRAME, {"type": "end_frame", "url": FRAME["url"]}],
        [{"type": "first_frame", "url": "assets/f.jpg"}],
        [{"type": "first_frame", "url": base64.b64encode(b"GIF89a").decode()}],
        [{"type": "first_frame", "text": FRAME["url"]}],
        ["first_frame"],
    ],
)
def test_contents_take_one_frame_and_at_most_one_prompt(contents: object) -> None:
    with pytest.raises(Refused):
        read_frame_order({"contents": contents})
