"""Text of a form gets the type its word has; what cannot be of it stays, for the check to refuse."""

from __future__ import annotations

import pytest

from service.compat.openai.typed import typed
from service.providers.registry import PROVIDERS

KLING_30 = PROVIDERS["ulazai"].models["kling-3.0"]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("duration", "5", 5),
        ("deadline_seconds", "900", 900),
        ("duration", "five", "five"),
        ("duration", "\u0665", "\u0665"),
        ("cfg_scale", "0.5", 0.5),
        ("cfg_scale", "nan", "nan"),
        ("sound", "true", True),
        ("sound", "false", False),
        ("sound", "yes", "yes"),
        ("prompt", "5", "5"),
        ("prompt", "[1]", "[1]"),
        ("shots", '[{"prompt": "a", "duration": 2}]', [{"prompt": "a", "duration": 2}]),
        ("metadata", '{"a": "1"}', {"a": "1"}),
        ("metadata", '{"a": ', '{"a": '),
        ("shots", "[\ud800]", "[\ud800]"),
        ("shots", [{"prompt": "a", "duration": "2"}, "b"], [{"prompt": "a", "duration": 2}, "b"]),
        ("camera", {"type": "simple", "config": {"pan": "1.5"}}, {"type": "simple", "config": {"pan": 1.5}}),
        ("provider_options", {"multiShots": "true", "other": "true"}, {"multiShots": True, "other": "true"}),
    ],
)
def test_a_word_gets_its_type(name: str, text: object, value: object) -> None:
    assert typed({name: text}, KLING_30) == {name: value}


def test_without_a_model_its_own_fields_stay_text() -> None:
    assert typed({"provider_options": {"multiShots": "true"}}, None) == {"provider_options": {"multiShots": "true"}}
