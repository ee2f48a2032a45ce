"""One body for all: the portable core passes on every text-to-video contract, and says what was understood."""

from __future__ import annotations

import pytest

from service.core.request import Invalid
from service.providers.registry import PROVIDERS
from tests.service.providers.builders import request

EVERY = [(name, model) for name, contract in PROVIDERS.items() for model in contract.models]
LOUD = {"cloudsway/kling-3.0-turbo", "acedata/kling-v3-turbo"}  # audio cannot be switched off
FIVE_ONLY = {"acedata/kling-o1"}
ONE_LEVEL = {"ulazai/kling-2.6", "acedata/kling-v2-master", "acedata/kling-v2-1-master"}
MUTE = {f"acedata/{name}" for name in PROVIDERS["acedata"].models if name in ("kling-v1", "kling-v1-6", "kling-o1")} | {
    "acedata/kling-v2-5-turbo",
    "acedata/kling-v2-master",
    "acedata/kling-v2-1-master",
}
PRO_SOUND = {"acedata/kling-v2-6"}

every_model = pytest.mark.parametrize(("name", "model"), EVERY, ids=[f"{name}/{model}" for name, model in EVERY])


def core(**more: object) -> dict[str, object]:
    return {"prompt": "A tram.", "duration": 5, "aspect_ratio": "9:16", "quality": "standard", **more}


def prepared(name: str, model: str, input: dict[str, object]) -> dict[str, object]:
    return dict(PROVIDERS[name].prepare(request(name, input, model=model)).input)


def refused(name: str, model: str, input: dict[str, object]) -> list[str]:
    with pytest.raises(Invalid) as told:
        prepared(name, model, input)
    return [fault.pointer for fault in told.value.faults]


@every_model
@pytest.mark.parametrize("seconds", [5, 10])
def test_the_portable_core_is_valid_everywhere_and_echoed_in_full(name: str, model: str, seconds: int) -> None:
    if seconds == 10 and f"{name}/{model}" in FIVE_ONLY:
        assert refused(name, model, core(duration=10)) == ["/input/duration"]
        return
    echoed = prepared(name, model, core(duration=seconds))
    assert core(duration=seconds).items() <= echoed.items()
    assert echoed["sound"] is (f"{name}/{model}" in LOUD)


@every_model
def test_our_defaults_are_the_same_everywhere(name: str, model: str) -> None:
    assert prepared(name, model, {"prompt": "A tram."}) == prepared(name, model, core(aspect_ratio="16:9"))


@every_model
def test_silence_is_accepted_where_it_can_be_had_and_refused_where_it_cannot(name: str, model: str) -> None:
    if f"{name}/{model}" in LOUD:
        assert refused(name, model, core(sound=False)) == ["/input/sound"]
        assert prepared(name, model, core(sound=True))["sound"] is True
    else:
        assert prepared(name, model, core(sound=False))["sound"] is False


@every_model
def test_sound_is_made_or_refused_by_name_and_never_dropped(name: str, model: str) -> None:
    if f"{name}/{model}" in MUTE | PRO_SOUND:
        assert refused(name, model, core(sound=True)) == ["/input/sound"]
    else:
        assert prepared(name, model, core(sound=True))["sound"] is True


@every_model
def test_a_contract_without_levels_takes_only_the_standard_one(name: str, model: str) -> None:
    if f"{name}/{model}" in ONE_LEVEL:
        assert refused(name, model, core(quality="pro")) == ["/input/quality"]
    else:
        assert prepared(name, model, core(quality="pro"))["quality"] == "pro"


@every_model
@pytest.mark.parametrize("ratio", ["16:9", "9:16", "1:1"])
def test_three_aspect_ratios_are_taken_everywhere(name: str, model: str, ratio: str) -> None:
    assert prepared(name, model, core(aspect_ratio=ratio))["aspect_ratio"] == ratio
    assert refused(name, model, core(aspect_ratio="4:3")) == ["/input/aspect_ratio"]


@every_model
def test_an_effective_input_is_its_own_effective_input(name: str, model: str) -> None:
    once = prepared(name, model, core())
    assert prepared(name, model, once) == once
