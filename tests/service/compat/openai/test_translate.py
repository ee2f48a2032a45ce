"""A create in OpenAI's words, as the body it means; and the faults of that body where their cause stands."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.compat.openai.translate import TO_COME, Order, order_of
from service.core.request import Fault, Invalid, parse
from service.providers.registry import PROVIDERS
from tests.service.core.pictures import png

ACCOUNTS = {"cloudsway": "cloudsway", "second": "ulazai"}
MODEL = "cloudsway/kling-3.0-turbo"
URL = "https://assets.example.org/a.png"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
WORDS = (
    "prompt",
    "model",
    "seconds",
    "size",
    "input_reference",
    "metadata",
    "image",
    "provider",
    "account",
    "input",
    "other",
)


def order(**members: object) -> Order:
    return order_of({"model": MODEL, "prompt": "A boat", **members}, None, providers=PROVIDERS, accounts=ACCOUNTS)


def told(order: Order) -> dict[str, str]:
    return {fault.pointer: fault.detail for fault in order.faults}


def test_the_sdks_words_are_ours() -> None:
    made = order(seconds="5", size="720x1280", metadata={"a": "1"}, negative_prompt="rain", deadline_seconds=60)
    assert made.faults == []
    assert made.body == {
        "provider": "cloudsway",
        "model": "kling-3.0-turbo",
        "metadata": {"a": "1"},
        "deadline_seconds": 60,
        "input": {
            "prompt": "A boat",
            "negative_prompt": "rain",
            "duration": 5,
            "quality": "standard",
            "aspect_ratio": "9:16",
        },
    }


@pytest.mark.parametrize(
    ("members", "who"),
    [
        ({"model": "second/kling-3.0"}, {"account": "second", "model": "kling-3.0"}),
        ({"model": "kling-3.0", "account": "second"}, {"account": "second", "model": "kling-3.0"}),
        ({"model": "kling-3.0", "provider": "ulazai"}, {"provider": "ulazai", "model": "kling-3.0"}),
        ({"model": "nobody/x/y"}, {"provider": "nobody", "model": "x/y"}),
    ],
)
def test_who_is_asked(members: dict[str, object], who: dict[str, str]) -> None:
    body = order(**members).body
    assert {name: body[name] for name in ("provider", "account", "model") if name in body} == who


@pytest.mark.parametrize("model", ["sora-2", "", None, 5, ["a/b"]])
def test_a_model_that_names_nobody_is_a_fault(model: object) -> None:
    assert 'Send "provider/model"' in told(order(model=model))["/model"]


def test_what_is_said_in_our_words_wins() -> None:
    made = order(seconds="5", duration=10, size="1280x720", aspect_ratio="1:1", resolution="1080p", image=URL)
    given = made.body["input"]
    assert given == {"prompt": "A boat", "duration": 10, "aspect_ratio": "1:1", "resolution": "1080p", "image": URL}


def test_an_image_in_our_words_wins_over_a_file_which_is_stored_nowhere() -> None:
    said = {"model": MODEL, "prompt": "A boat", "image": URL}
    made = order_of(said, png(), providers=PROVIDERS, accounts=ACCOUNTS)
    assert (made.faults, made.image) == ([], None) and made.body["input"]["image"] == URL  # type: ignore[index]


@pytest.mark.parametrize("reference", [URL, {"image_url": URL}])
def test_a_reference_by_url(reference: object) -> None:
    made = order(input_reference=reference)
    assert (made.faults, made.image) == ([], None) and made.body["input"]["image"] == URL  # type: ignore[index]


def test_a_reference_that_is_the_image_itself() -> None:
    data = "data:image/png;base64," + base64.b64encode(png()).decode()
    for made in (
        order(input_reference=data),
        order(input_reference={"image_url": data}),
        order_of({"model": MODEL}, png(), providers=PROVIDERS, accounts=ACCOUNTS),
    ):
        assert (made.faults, made.image) == ([], png()) and made.body["input"]["image"] == TO_COME  # type: ignore[index]


@pytest.mark.parametrize(
    "reference", ["", "data:text/html,x", "data:image/png;base64,%%%", 5, ["a"], {}, {"image_url": 5}, {"url": "x"}]
)
def test_a_reference_that_is_nothing(reference: object) -> None:
    assert "public URL" in told(order(input_reference=reference))["/input_reference"]


def test_there_are_no_stored_files() -> None:
    assert "no file_id" in told(order(input_reference={"file_id": "file-1"}))["/input_reference/file_id"]


@pytest.mark.parametrize("seconds", ["five", "5.5", 5.0, True, [5], ""])
def test_seconds_that_are_no_number(seconds: object) -> None:
    assert "whole number of seconds" in told(order(seconds=seconds))["/seconds"]


def test_faults_of_the_body_stand_where_their_cause_does() -> None:
    made = order(seconds="99", input_reference="nowhere", model="nobody/x")
    made.renamed |= order(size="1280x720").renamed
    places = [
        "/input/duration",
        "/input/aspect_ratio",
        "/input/image",
        "/input/prompt",
        "/provider",
        "/shots/0",
        "/metadata/a",
    ]
    found = made.and_of_body([Fault(pointer=place, detail="x") for place in places])
    assert [fault.pointer for fault in found] == [
        "/seconds", "/size", "/input_reference", "/prompt", "/model", "/shots/0", "/metadata/a",
    ]  # fmt: skip
    twice = order(seconds="x").and_of_body(
        [Fault(pointer="/seconds", detail="y"), Fault(pointer="/prompt", detail="z")]
    )
    assert [fault.pointer for fault in twice] == ["/seconds", "/prompt"]


@settings(max_examples=30)
@given(st.dictionaries(st.sampled_from(WORDS), JSON, max_size=6))
def test_whatever_is_sent_becomes_a_body_or_faults(members: dict[str, object]) -> None:
    made = order_of(members, None, providers=PROVIDERS, accounts=ACCOUNTS)
    try:
        parse(made.body)
    except Invalid as invalid:
        assert made.and_of_body(invalid.faults)
