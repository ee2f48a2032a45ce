"""How two bodies differ is said in words; no body makes it fail."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core import bodies
from tests.service.core.received import BODY, VALUE

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)


@given(JSON, st.sampled_from(bodies.LAYOUTS), st.booleans())
def test_what_any_layout_wrote_can_be_read_back_to_the_bytes_it_was(
    value: object, layout: dict[str, object], ascii: bool
) -> None:
    original = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    written = json.dumps(value, ensure_ascii=ascii, **layout).encode("utf-8", "surrogatepass")  # type: ignore[arg-type]
    assert original in set(bodies.readings(written)) | {written}


@given(
    st.one_of(st.binary(max_size=60), st.sampled_from([b"[" * 5000, b'{"a":' * 70 + b"1" + b"}" * 70, b"1" * 5000])),
    st.binary(max_size=60),
)
def test_no_body_makes_it_fail(one: bytes, other: bytes) -> None:
    list(bodies.readings(one))
    list(bodies.as_text(one))
    bodies.alphabetical(one)
    assert (bodies.difference(one, other) == "is the same") is (one == other)


@pytest.mark.parametrize(
    ("got", "was", "place"),
    [
        ({"a": {"b/c": 1}}, {"a": {"b/c": 2}}, "/a/b~1c"),
        ({"a": [1, 2]}, {"a": [1, 3]}, "/a/1"),
        ({"a": [1]}, {"a": [1, 2]}, "/a"),
        ({"a": 1, "x": 2}, {"a": 1}, "/x"),
        ({}, {"a": 1}, "/a"),
        ({"a": True}, {"a": 1}, "/a"),
        (1, 2, ""),
        ({"b": 1, "a": None}, {"a": None, "b": 1}, None),
    ],
)
def test_the_first_change_is_a_json_pointer(got: object, was: object, place: str | None) -> None:
    assert bodies.first_change(got, was) == place


def test_spaces_inside_a_string_are_no_layout() -> None:
    assert bodies.difference(b'{"a":"b  c"}', b'{"a":"b c"}') == "says something else at /a"
    assert "other spaces" in bodies.difference(b'{"a": "b \\" c"}', b'{"a":"b \\" c"}')
    assert "numbers or escapes" in bodies.difference(b'{"a":1.0}', b'{"a":1.00}')


def test_only_a_body_in_alphabetical_order_is_said_to_be() -> None:
    assert bodies.alphabetical(json.dumps(VALUE, sort_keys=True).encode())
    assert not bodies.alphabetical(BODY)
    assert not bodies.alphabetical(b"[1]")
