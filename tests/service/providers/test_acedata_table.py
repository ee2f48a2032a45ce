"""What is published of AceData's models says of each what its row says, and no more."""

from __future__ import annotations

from typing import Any

import pytest

from service.providers import catalogue
from service.providers.acedata_table import MODELS, TABLE


def word(model: str, name: str) -> Any:
    schema: Any = catalogue.input_schema(MODELS[model])
    return schema["properties"][name]


def rules(model: str) -> str:
    return " ".join(MODELS[model].rules)


def apart(model: str) -> set[tuple[str, str]]:
    return {(rule.word, other) for rule in MODELS[model].apart for other in rule.others}


def test_lengths_levels_and_actions_are_those_of_the_row() -> None:
    assert word("kling-v3", "duration") == {"type": "integer", "minimum": 3, "maximum": 15, "default": 5}
    assert (word("kling-v2-6", "duration")["enum"], word("kling-o1", "duration")["enum"]) == ([5, 10], [5])
    assert (word("kling-v3", "mode")["enum"], word("kling-v3", "quality")["enum"][-1]) == (["std", "pro", "4k"], "4k")
    assert word("kling-v2-master", "quality")["enum"] == ["standard"]
    assert word("kling-v1", "action")["enum"] == ["text2video", "image2video", "extend"]
    assert word("kling-v3", "action")["enum"] == ["text2video", "image2video"]


def test_sound_is_a_choice_a_rule_or_none() -> None:
    assert word("kling-v3-turbo", "sound") == {"type": "boolean", "enum": [True], "default": True}
    assert word("kling-v1", "sound") == {"type": "boolean", "enum": [False], "default": False}
    assert word("kling-v2-6", "sound") == {"type": "boolean", "default": False}
    assert "Sound is made in mode pro only." in rules("kling-v2-6") and "Sound" not in rules("kling-v3")


def test_a_prompt_may_be_left_out_only_where_something_stands_for_it() -> None:
    schemas: dict[str, Any] = {name: catalogue.input_schema(model) for name, model in MODELS.items()}
    assert {"anyOf": [{"required": ["prompt"]}, {"required": ["shots"]}]} in schemas["kling-v3"]["allOf"]
    assert {"anyOf": [{"required": ["prompt"]}, {"required": ["video_id"]}]} in schemas["kling-v1"]["allOf"]
    assert schemas["kling-v2-6"]["required"] == ["prompt"]


@pytest.mark.parametrize("model", TABLE)
def test_what_excludes_what_is_said_of_words_the_model_takes(model: str) -> None:
    assert all({word, other} <= MODELS[model].inputs for word, other in apart(model))
    assert (("prompt", "shots") in apart(model)) is TABLE[model].shots
    assert (("image", "video_id") in apart(model)) is TABLE[model].extends
    assert (("cfg_scale", "video_id") in apart(model)) is (model == "kling-v1")
    assert (("cfg_scale", "images") in apart(model)) is (model == "kling-v3-omni")


def test_where_and_how_long_is_told_only_where_it_is_bounded() -> None:
    assert "end_image needs image, and goes for 5 seconds only." in rules("kling-v1")
    assert "end_image needs image, and goes in mode pro only." in rules("kling-v1-6")
    assert "end_image needs image." in rules("kling-o1") and "4k" not in rules("kling-o1")
    assert "The camera moves in mode pro and std only." in rules("kling-v3")
    assert "The camera moves for 5 seconds only." in rules("kling-v1")
    assert "<<<image_1>>>" in rules("kling-o1") and "<<<" not in rules("kling-v3")


def test_native_fields_are_bounded_and_elements_are_closed() -> None:
    options: Any = catalogue.options_schema(MODELS["kling-v3-omni"])
    assert set(options["properties"]) == {"shot_type", "video_list"}
    assert options["properties"]["shot_type"]["enum"] == ["customize", "intelligence"]
    assert not any("element_list" in model.options for model in MODELS.values())
