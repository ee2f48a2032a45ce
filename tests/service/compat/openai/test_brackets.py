"""Bracket notation: what an SDK nested comes back as it was, and what cannot be told apart is refused by name."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.compat.openai.brackets import nest
from service.core.request import Fault

NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="[]", exclude_categories=["Cs"]), min_size=1, max_size=8
)
TEXT = st.text(max_size=8)
NESTED = st.recursive(TEXT, lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=3), max_leaves=6)


def written(name: str, value: object) -> list[tuple[str, str]]:
    """As the SDK for Python writes it: brackets for names and lists, then equal names together."""
    if isinstance(value, dict):
        return [pair for inner, one in value.items() for pair in written(f"{name}[{inner}]", one)]
    if isinstance(value, list):
        pairs = [pair for one in value for pair in written(f"{name}[]", one)]
        together = list(dict.fromkeys(name for name, _ in pairs))
        return [(name, text) for name in together for other, text in pairs if other == name]
    return [(name, str(value))]


def read(*pairs: tuple[str, str]) -> tuple[dict[str, object], list[Fault]]:
    faults: list[Fault] = []
    return nest(pairs, faults), faults


@settings(max_examples=25)
@given(st.dictionaries(NAMES, NESTED, max_size=4))
def test_what_an_sdk_nested_comes_back(members: dict[str, object]) -> None:
    pairs = [pair for name, value in members.items() for pair in written(name, value)]
    if all(name.count("[") <= 6 for name, _ in pairs) and not any(map(places, members)):
        assert read(*pairs) == (members, [])


def places(name: str) -> bool:
    return name in ("images", "shots", "fallbacks", "webhook_events")


@settings(max_examples=25)
@given(st.lists(st.tuples(st.text("ab[]0", max_size=8), TEXT), max_size=6))
def test_no_names_raise_anything(pairs: list[tuple[str, str]]) -> None:
    members, faults = read(*pairs)
    assert len(members) + len(faults) <= len({re.split(r"[\[\]]", name)[0] for name, _ in pairs}) + len(pairs)


def test_lists_of_values_and_of_objects() -> None:
    shots = [{"prompt": "a", "duration": "2"}, {"prompt": "b", "duration": "3"}]
    members, faults = read(*written("images", ["u", "v"]), *written("shots", shots))
    assert (members, faults) == ({"images": ["u", "v"], "shots": shots}, [])


def test_places_in_a_list_are_no_names_and_elsewhere_they_are() -> None:
    pairs = [("shots[1][prompt]", "b"), ("shots[0][prompt]", "a"), ("metadata[0]", "x")]
    assert read(*pairs)[0] == {"shots": [{"prompt": "a"}, {"prompt": "b"}], "metadata": {"0": "x"}}


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([("a", "1"), ("a", "2")], "given twice"),
        ([("a", "1"), ("a[b]", "2")], "both as one value"),
        ([("a[]", "1"), ("a[b]", "2")], "both as a list and by name"),
        ([("shots[][prompt]", "a"), ("shots[][prompt]", "b"), ("shots[][duration]", "2")], "as JSON text"),
        ([("a[", "1")], "cannot be read"),
        ([("", "1")], "cannot be read"),
        ([("a" + "[b]" * 7, "1")], "cannot be read"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(pairs: list[tuple[str, str]], words: str) -> None:
    members, [fault] = read(*pairs, ("fine", "1"))
    assert members == {"fine": "1"} and words in fault.detail
