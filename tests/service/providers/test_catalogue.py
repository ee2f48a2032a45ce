"""What is published is what is judged: every bound in a schema is the bound at which `prepare` refuses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from service.core.request import Input, Invalid, TaskRequest
from service.providers import catalogue
from service.providers.base import Model
from service.providers.limits import Kind, Limit, number
from service.providers.registry import PROVIDERS

EVERY = [(name, model) for name, contract in PROVIDERS.items() for model in contract.models.values()]
URL = "https://assets.example.org/a.png"
# What some words need beside them to be taken at all.
BESIDE: Mapping[str, Mapping[str, object]] = {
    "end_image": {"image": URL, "quality": "pro"},
    "sound": {"quality": "pro"},
    "image2video": {"image": URL},
    "extend": {"video_id": "1"},
}


def named(pair: tuple[str, Model]) -> str:
    return f"{pair[0]}/{pair[1].name}"


def refused(provider: str, model: Model, input: Mapping[str, object], **more: Any) -> set[str]:
    """Pointers of the faults."""
    try:
        PROVIDERS[provider].prepare(TaskRequest(provider=provider, model=model.name, input=input, **more))
    except Invalid as invalid:
        return {fault.pointer for fault in invalid.faults}
    return set()


def edges(name: str, limit: Limit) -> Iterator[tuple[dict[str, object], bool]]:
    """Inputs at and just beyond each bound, and whether they fit."""
    base: dict[str, object] = {"prompt": "p", **BESIDE.get(name, {})}
    if limit.kind is Kind.TEXT and limit.most:
        yield {**base, name: "x" * limit.most}, True
        yield {**base, name: "x" * (limit.most + 1)}, False
        yield {**base, name: " "}, limit.blank
    elif limit.kind is Kind.WHOLE and limit.allowed:
        for value in range(1, 20):
            yield {**base, name: value}, value in limit.allowed
    elif limit.kind is Kind.WHOLE:
        assert isinstance(limit.low, int) and isinstance(limit.high, int)
        for value in (limit.low - 1, limit.low, limit.high, limit.high + 1):
            yield {**base, name: value}, limit.low <= value <= limit.high
    elif limit.kind is Kind.NUMBER:
        assert limit.low is not None and limit.high is not None
        for number in (limit.low - 0.01, limit.low, limit.high, limit.high + 0.01):
            yield {**base, name: number}, limit.low <= number <= limit.high
    elif limit.kind is Kind.CHOICE:
        yield from (({**base, **BESIDE.get(str(word), {}), name: word}, True) for word in limit.allowed)
        yield {**base, name: "no-such-word"}, False
    elif limit.kind is Kind.FLAG:
        yield from (({**base, name: flag}, not limit.allowed or flag in limit.allowed) for flag in (True, False))
    elif limit.kind is Kind.LINK:
        yield {**base, name: URL}, True
        yield {**base, name: "ftp://x.example/a"}, False
    elif limit.kind is Kind.LINKS and limit.most:
        yield {**base, name: [URL] * limit.most}, True
        yield {**base, name: [URL] * (limit.most + 1)}, False
    elif limit.kind is Kind.SHOTS and limit.most and limit.each:
        yield {**base, name: [{"prompt": "x", "duration": 1}] * limit.most}, True
        yield {**base, name: [{"prompt": "x", "duration": 1}] * (limit.most + 1)}, False
        yield {**base, name: [{"prompt": "x" * (limit.each + 1), "duration": 5}]}, False


@pytest.mark.parametrize("pair", EVERY, ids=named)
def test_each_published_bound_is_the_one_that_is_judged(pair: tuple[str, Model]) -> None:
    provider, model = pair
    for name, limit in model.limits.items():
        for given, fits in edges(name, limit):
            at = {place.split("/")[2] for place in refused(provider, model, given)}
            assert (name not in at) is fits, (name, given)


@pytest.mark.parametrize("pair", EVERY, ids=named)
def test_a_published_default_is_the_one_that_is_used(pair: tuple[str, Model]) -> None:
    provider, model = pair
    used = PROVIDERS[provider].prepare(TaskRequest(provider=provider, model=model.name, input={"prompt": "p"})).input
    properties: Any = catalogue.input_schema(model)["properties"]
    stated = {name: shape["default"] for name, shape in properties.items() if "default" in shape}
    assert stated == {name: value for name, value in used.items() if name in stated}


@pytest.mark.parametrize("pair", EVERY, ids=named)
def test_what_is_published_as_apart_or_required_is_refused(pair: tuple[str, Model]) -> None:
    provider, model = pair
    values: dict[str, object] = {
        **dict.fromkeys(("image", "end_image"), URL),
        **dict.fromkeys(("prompt", "negative_prompt", "video_id"), "p"),
        "images": [URL],
        "aspect_ratio": "16:9",
        "shots": [{"prompt": "p", "duration": 5}],
        "camera": {"type": "simple"},
        "cfg_scale": 0.5,
    }
    for apart in model.apart:
        for other in apart.others:
            given = {"prompt": "p", apart.word: values[apart.word], other: values[other]}
            assert f"/input/{apart.word}" in refused(provider, model, given)
    for name, limit in model.limits.items():
        if limit.required:
            assert f"/input/{name}" in refused(provider, model, {})
            for word in limit.unless:
                assert refused(provider, model, {word: values[word]}) == set()


@pytest.mark.parametrize("pair", EVERY, ids=named)
def test_a_schema_lists_exactly_the_words_that_the_model_takes(pair: tuple[str, Model]) -> None:
    provider, model = pair
    schema: Any = catalogue.input_schema(model)
    assert set(schema["properties"]) == set(model.inputs)
    assert schema["additionalProperties"] is False and schema["$schema"].endswith("2020-12/schema")
    assert "$ref" not in str(schema)
    for word in set(Input.__annotations__) - set(model.inputs):
        assert f"/input/{word}" in refused(provider, model, {"prompt": "p", word: 1})


@pytest.mark.parametrize("pair", EVERY, ids=named)
def test_the_options_schema_lists_exactly_the_options(pair: tuple[str, Model]) -> None:
    provider, model = pair
    schema: Any = catalogue.options_schema(model)
    assert set(schema["properties"]) == set(model.options)
    for name in model.native:
        place = refused(provider, model, {"prompt": "p"}, provider_options={name: object()})
        assert f"/provider_options/{name}" in place


def test_ulazais_prices_are_published_as_they_are_summed() -> None:
    lines = catalogue.price_list(PROVIDERS["ulazai"].models["kling-3.0"])
    assert {"unit": "credit", "amount": "20", "per": "second", "when": {"mode": "std", "sound": False}} in lines
    assert {"unit": "credit", "amount": "-10", "per": "task", "when": {"share_publicly": True}} in lines


def test_api_in_ones_prices_are_published_and_acedatas_are_not_known() -> None:
    lines = catalogue.price_list(PROVIDERS["apiinone"].models["kling-3"])
    assert {"unit": "credit", "amount": "80", "per": "second", "when": {"mode": "pro", "sound": True}} in lines
    assert not any(model.prices for model in PROVIDERS["acedata"].models.values())


def test_a_number_has_its_bounds() -> None:
    model = Model(name="m", inputs=frozenset({"cfg_scale"}), limits={"cfg_scale": number(0, 1)})
    shape: Any = catalogue.input_schema(model)["properties"]
    assert shape["cfg_scale"] == {"type": "number", "minimum": 0, "maximum": 1}
