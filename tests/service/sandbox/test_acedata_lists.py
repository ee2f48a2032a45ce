from __future__ import annotations

from typing import Any

import pytest

from service.sandbox.acedata_body import read_order
from tests.service.sandbox.test_acedata_body import IMAGE, PICTURE, TEXT, refusal

OMNI: dict[str, Any] = TEXT | {"model": "kling-v3-omni"}
SHOTS: dict[str, Any] = OMNI | {"multi_shot": True, "shot_type": "customize", "duration": 8}
VIDEO = {"video_url": "https://assets.example.org/a.mp4"}


def pictures(count: int, **more: str) -> list[dict[str, str]]:
    return [{"image_url": PICTURE, **more} for _ in range(count)]


def shots(*seconds: int) -> list[dict[str, Any]]:
    return [{"index": index, "prompt": f"Shot {index}", "duration": part} for index, part in enumerate(seconds, 1)]


@pytest.mark.parametrize(
    "more",
    [
        {"image_list": pictures(7)},
        {"image_list": pictures(4), "video_list": [VIDEO]},
        {"image_list": pictures(2, type="first_frame")},
        {"video_list": [VIDEO | {"refer_type": "feature", "keep_original_sound": "no"}]},
    ],
)
def test_references_are_taken_by_the_models_that_have_them(more: dict[str, Any]) -> None:
    for model in ("kling-v3-omni", "kling-o1"):
        assert read_order(OMNI | {"model": model} | more, ()).ignored == ()
    assert "not supported by kling-v3" in refusal(TEXT | more)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (OMNI | {"image_list": pictures(8)}, "at most 7"),
        (OMNI | {"image_list": pictures(5), "video_list": [VIDEO]}, "at most 4"),
        (IMAGE | {"model": "kling-v3-omni", "image_list": pictures(7)}, "at most 7"),
        (OMNI | {"image_list": [{"url": PICTURE}]}, r"image_list[0]"),
        (OMNI | {"image_list": pictures(1, type="middle")}, r"image_list[0]"),
        (OMNI | {"image_list": pictures(1, element_id="7")}, r"image_list[0]"),
        (OMNI | {"video_list": []}, "exactly one"),
        (OMNI | {"video_list": [VIDEO, VIDEO]}, "exactly one"),
        (OMNI | {"video_list": [VIDEO | {"refer_type": "both"}]}, "exactly one"),
        (OMNI | {"video_list": [VIDEO | {"keep_original_sound": True}]}, "exactly one"),
        (OMNI | {"video_list": [VIDEO], "generate_audio": True}, "generate_audio"),
        (OMNI | {"video_list": [VIDEO], "image_list": pictures(1, type="first_frame")}, "base video"),
        (IMAGE | {"model": "kling-v3-omni", "video_list": [VIDEO]}, "base video"),
    ],
)
def test_references_beyond_the_rules_are_refused(body: dict[str, Any], why: str) -> None:
    assert why in refusal(body)


def test_feature_video_goes_with_frames() -> None:
    video = [VIDEO | {"refer_type": "feature"}]
    assert read_order(IMAGE | {"model": "kling-v3-omni", "video_list": video}, ())


def test_written_shots_stand_in_for_the_prompt() -> None:
    body = {name: value for name, value in SHOTS.items() if name != "prompt"}
    assert read_order(body | {"multi_prompt": shots(3, 5)}, ()).ignored == ()
    assert read_order(OMNI | {"multi_shot": True, "shot_type": "intelligence"}, ())


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (SHOTS, "1 to 6 shots"),
        (SHOTS | {"multi_prompt": shots(1, 1, 1, 1, 1, 1, 2)}, "1 to 6 shots"),
        (SHOTS | {"multi_prompt": shots(3, 4)}, "sum to 8"),
        (SHOTS | {"multi_prompt": shots(8, 0)}, "multi_prompt[1]"),
        (SHOTS | {"multi_prompt": [{"index": 1, "prompt": "x" * 513, "duration": 8}]}, "multi_prompt[0]"),
        (SHOTS | {"multi_prompt": [{"prompt": "x", "duration": 8}]}, "multi_prompt[0]"),
        (SHOTS | {"multi_prompt": [{"index": 1, "prompt": "x", "duration": "8"}]}, "multi_prompt[0]"),
        (OMNI | {"multi_shot": True, "multi_prompt": shots(5)}, "shot_type customize"),
        (OMNI | {"multi_prompt": shots(5)}, "needs multi_shot"),
        (TEXT | {"model": "kling-v2-6", "multi_shot": True}, "multi_shot is not supported"),
    ],
)
def test_shots_beyond_the_rules_are_refused(body: dict[str, Any], why: str) -> None:
    assert why in refusal(body)
