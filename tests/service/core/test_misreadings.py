"""Misreadings are found whatever text they are looked for in. What each is good for: test_diagnosis, test_header_faults."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core import misreadings
from service.core.signature import NAMES


@given(st.text(max_size=80))
def test_any_text_has_the_key_of_those_who_take_it_whole(secret: str) -> None:
    told = dict(misreadings.keys_of(secret))
    assert secret.strip().encode("utf-8", "replace") in told.values()


@given(st.lists(st.text(max_size=60), min_size=3, max_size=3))
def test_mending_never_raises_and_always_changes_something(values: list[str]) -> None:
    stated = dict(zip(NAMES, values, strict=True))
    for told, mended in misreadings.repairs(stated):
        assert told and mended != stated and mended.keys() == stated.keys()


@pytest.mark.parametrize(
    ("name", "standard"),
    [
        ("HTTP_WEBHOOK_SIGNATURE", "webhook-signature"),
        ("x-webhook-id", "webhook-id"),
        ("webhook_timestamp", "webhook-timestamp"),
        ("webhook-id", None),
        ("Webhook-Id", None),
        ("webhook-ids", None),
        ("svix-id", None),
    ],
)
def test_a_renamed_header_is_told_from_the_header_itself(name: str, standard: str | None) -> None:
    assert misreadings.renamed(name) == standard
