from __future__ import annotations

from service.sandbox.acedata_models import DEFAULT_MODEL, MODELS
from service.sandbox.jobs import RETIRED


def test_default_model_is_one_that_is_gone() -> None:
    assert DEFAULT_MODEL in MODELS and DEFAULT_MODEL in RETIRED


def test_every_model_has_at_least_one_mode_and_one_duration() -> None:
    assert [name for name, model in MODELS.items() if not model.modes or not model.seconds] == []


def test_only_the_third_generation_takes_other_seconds_than_five_and_ten() -> None:
    free = {name for name, model in MODELS.items() if 7 in model.seconds}
    assert free == {"kling-v3", "kling-v3-omni", "kling-v3-turbo"}
