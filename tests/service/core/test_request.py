"""What a client may ask for, and that every fault is told at once with its pointer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.core.request import Invalid, TaskRequest, parse, pointer

fuzz = settings(max_examples=150, deadline=None, database=None)


def body(**more: object) -> dict[str, object]:
    return {"provider": "cloudsway", "model": "kling-3.0-turbo", "input": {"prompt": "A tram."}, **more}


def faults(value: object) -> dict[str, str]:
    with pytest.raises(Invalid) as told:
        parse(value)
    return {fault.pointer: fault.detail for fault in told.value.faults}


def test_the_smallest_body_gets_the_defaults() -> None:
    assert parse(body()) == TaskRequest(provider="cloudsway", model="kling-3.0-turbo", input={"prompt": "A tram."})


def test_a_full_body_comes_through_as_it_was_sent() -> None:
    input = {
        "prompt": "A\ttram.\r\n👩‍👩‍👧",
        "negative_prompt": "rain",
        "duration": 5,
        "aspect_ratio": "16:9",
        "quality": "pro",
        "mode": "pro",
        "resolution": "1080p",
        "sound": True,
        "image": "https://a.example/a.png",
        "end_image": "https://a.example/b.png",
        "images": ["https://a.example/c.png"],
        "shots": [{"prompt": "A door.", "duration": 2}],
        "camera": {"type": "simple", "config": {"zoom": 0.5, "pan": 1}},
        "cfg_scale": 1,
        "watermark": False,
        "action": "extend",
        "video_id": "v1",
        "share_publicly": False,
    }
    seen = parse(
        {
            "account": "second",
            "model": "m",
            "input": input,
            "provider_options": {"native": [1, {"a": None}]},
            "metadata": {"order": "8841"},
            "reference": "order-8841",
            "webhook_url": "https://app.example.org/hook",
            "webhook_events": ["task.failed", "task.succeeded", "task.failed"],
            "deadline_seconds": 60,
        }
    )
    assert dict(seen.input) == input
    assert (seen.account, seen.provider, seen.deadline_seconds) == ("second", None, 60)
    assert seen.webhook_events == ("task.failed", "task.succeeded")
    assert seen.provider_options == {"native": [1, {"a": None}]}


@pytest.mark.parametrize(
    "change, place",
    [
        ({"model": None}, "/model"),
        ({"model": ""}, "/model"),
        ({"model": "a\nb"}, "/model"),
        ({"input": None}, "/input"),
        ({"input": []}, "/input"),
        ({"input": {"duration": "5"}}, "/input/duration"),
        ({"input": {"duration": True}}, "/input/duration"),
        ({"input": {"duration": 5.0}}, "/input/duration"),
        ({"input": {"duration": None}}, "/input/duration"),
        ({"input": {"sound": "true"}}, "/input/sound"),
        ({"input": {"sound": 1}}, "/input/sound"),
        ({"input": {"prompt": 1}}, "/input/prompt"),
        ({"input": {"prompt": "x" * 20_001}}, "/input/prompt"),
        ({"input": {"cfg_scale": "0.5"}}, "/input/cfg_scale"),
        ({"input": {"cfg_scale": True}}, "/input/cfg_scale"),
        ({"input": {"cfg_scale": float("nan")}}, "/input/cfg_scale"),
        ({"input": {"images": "https://a"}}, "/input/images"),
        ({"input": {"images": []}}, "/input/images"),
        ({"input": {"images": ["https://a"] * 17}}, "/input/images"),
        ({"input": {"image": "https://a/" + "x" * 2048}}, "/input/image"),
        ({"input": {"shots": [{"prompt": "a"}]}}, "/input/shots/0/duration"),
        ({"input": {"shots": [{"prompt": "a", "duration": 1, "index": 1}]}}, "/input/shots/0/index"),
        ({"input": {"camera": {"type": "simple", "config": {"zoom": "1"}}}}, "/input/camera/config/zoom"),
        ({"metadata": {"a": 1}}, "/metadata/a"),
        ({"metadata": {"a": "x" * 501}}, "/metadata/a"),
        ({"metadata": {"k" * 41: "x"}}, "/metadata/" + "k" * 41),
        ({"metadata": {str(n): "x" for n in range(51)}}, "/metadata"),
        ({"metadata": [["a", "b"]]}, "/metadata"),
        ({"reference": ""}, "/reference"),
        ({"reference": "x" * 201}, "/reference"),
        ({"reference": "a\tb"}, "/reference"),
        ({"reference": "a\u202eb"}, "/reference"),
        ({"webhook_url": "https://a/" + "x" * 2048}, "/webhook_url"),
        ({"webhook_url": 7}, "/webhook_url"),
        ({"webhook_url": "https://a", "webhook_events": []}, "/webhook_events"),
        ({"webhook_url": "https://a", "webhook_events": ["task.succeded"]}, "/webhook_events/0"),
        ({"webhook_events": ["task.failed"]}, "/webhook_events"),
        ({"deadline_seconds": 59}, "/deadline_seconds"),
        ({"deadline_seconds": 604_801}, "/deadline_seconds"),
        ({"deadline_seconds": "60"}, "/deadline_seconds"),
        ({"deadline_seconds": True}, "/deadline_seconds"),
        ({"provider_options": "x"}, "/provider_options"),
        ({"provider": None}, "/provider"),
        ({"account": "a"}, "/account"),
        ({"callback_url": "https://a"}, "/callback_url"),
        ({"status": "succeeded"}, "/status"),
        ({"project_id": "prj_other"}, "/project_id"),
        ({"input": {"external_task_id": "x"}}, "/input/external_task_id"),
    ],
)
def test_each_bad_member_is_pointed_at_and_nothing_else_is(change: dict[str, object], place: str) -> None:
    assert list(faults(body(**change))) == [place]


@pytest.mark.parametrize("value, least", [(59, False), (60, True), (604_800, True), (604_801, False)])
def test_deadlines_are_bounded_inclusively(value: int, least: bool) -> None:
    if least:
        assert parse(body(deadline_seconds=value)).deadline_seconds == value
    else:
        assert "/deadline_seconds" in faults(body(deadline_seconds=value))


def test_all_faults_are_told_at_once() -> None:
    told = faults(
        {
            "model": 1,
            "input": {"duration": "5", "duraton": 5, "prompt": "a\x00"},
            "deadline_seconds": 1,
            "refrence": "x",
        }
    )
    assert set(told) == {
        "/model",
        "/input/duration",
        "/input/duraton",
        "/input/prompt",
        "/deadline_seconds",
        "/refrence",
        "/provider",
    }
    assert told["/input/duraton"] == 'There is no "duraton". Did you mean duration?'
    assert told["/refrence"] == 'There is no "refrence". Did you mean reference?'


@pytest.mark.parametrize("bad", ["\x00", "\x07", "\x0b", "\x1f", "\x7f", "\x85", "\ud800", "\udfff"])
@pytest.mark.parametrize(
    "where, place",
    [
        (lambda text: body(input={"prompt": f"a{text}b"}), "/input/prompt"),
        (lambda text: body(metadata={"k": f"a{text}"}), "/metadata/k"),
        (lambda text: body(metadata={f"k{text}": "a"}), "/metadata/k\ufffd"),
        (lambda text: body(reference=f"a{text}"), "/reference"),
        (lambda text: body(webhook_url=f"https://a{text}"), "/webhook_url"),
        (lambda text: body(provider_options={"a": [{"b": text}]}), "/provider_options/a/0/b"),
        (lambda text: body(provider_options={"a": {text: 1}}), "/provider_options/a/\ufffd"),
        (lambda text: body(input={"shots": [{"prompt": text, "duration": 1}]}), "/input/shots/0/prompt"),
    ],
)
def test_characters_that_cannot_be_stored_are_refused_everywhere(bad: str, where: object, place: str) -> None:
    told = faults(where(bad))  # type: ignore[operator]
    assert list(told) == [place]
    assert told[place].encode() and place.encode()


def test_pointers_are_escaped_and_can_always_be_written() -> None:
    assert pointer("metadata", "a/b~c") == "/metadata/a~1b~0c"
    assert pointer("x" * 500, 3) == "/" + "x" * 59 + "…/3"
    assert pointer("\ud800\n") == "/\ufffd\ufffd"


def test_the_number_of_faults_and_the_depth_looked_at_are_bounded() -> None:
    assert len(faults(body(**{f"x{n}": 1 for n in range(500)}))) <= 100
    deep: dict[str, object] = {}
    deep["deep"] = deep
    assert "nested deeper" in faults(body(provider_options=deep))[""]


@fuzz
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["provider", "model", "input", "metadata", "shots", "prompt", "x"]) | st.text(),
                inner,
                max_size=5,
            )
        ),
        max_leaves=15,
    )
)
def test_any_json_is_parsed_or_invalid(value: object) -> None:
    try:
        parse(value)
    except Invalid as told:
        assert told.faults
        for fault in told.faults:
            assert fault.pointer.encode() is not None and fault.detail.encode()


def test_fallbacks_are_read_in_order() -> None:
    given = body() | {
        "fallbacks": [{"account": "a", "model": "m"}, {"provider": "p", "model": "n", "provider_options": {"x": 1}}]
    }
    one, two = parse(given).fallbacks
    assert (one.account, one.provider, one.model, one.provider_options) == ("a", None, "m", {})
    assert (two.account, two.provider, two.model, two.provider_options) == (None, "p", "n", {"x": 1})
    assert parse(body() | {"fallbacks": []}).fallbacks == ()


def test_each_fault_of_a_fallback_stands_at_its_place() -> None:
    wrong = [{"account": "a", "provider": "p", "model": "m"}, {"model": "m"}, {"provider": "p", "modle": "m"}, 7]
    with pytest.raises(Invalid) as refused:
        parse(body() | {"fallbacks": wrong})
    told = {fault.pointer: fault.detail for fault in refused.value.faults}
    assert set(told) == {
        "/fallbacks/0/account", "/fallbacks/1/provider", "/fallbacks/2/model", "/fallbacks/2/modle", "/fallbacks/3",
    }  # fmt: skip
    assert "Did you mean model?" in told["/fallbacks/2/modle"]
    with pytest.raises(Invalid, match="/fallbacks: This holds more than 5 entries"):
        parse(body() | {"fallbacks": [{"provider": "p", "model": "m"}] * 6})


def test_a_word_of_the_input_at_the_top_is_told_where_it_goes() -> None:
    with pytest.raises(Invalid) as told:
        parse(body() | {"prompt": "x"})
    assert [(fault.pointer, fault.detail) for fault in told.value.faults] == [
        ("/prompt", '"prompt" goes inside "input".')
    ]
