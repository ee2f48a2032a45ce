"""What a receiver's code did is found from the signature it arrived at."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest

from service.core.receivers import explain
from tests.service.core.received import AT, BODY, ID, SECRET, VALUE, evidence

KEY = base64.b64decode(SECRET.removeprefix("whsec_"))
CONTENT = f"{ID}.{AT}.".encode() + BODY


def computed(key: bytes, content: bytes) -> str:
    return base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


def test_the_right_one_is_nobodys_mistake_in_whatever_form() -> None:
    right = computed(KEY, CONTENT)
    for text in (
        right,
        f"v1,{right}",
        base64.b64decode(right).hex(),
        right.rstrip("="),
        f"sha256={base64.b64decode(right).hex()}",
    ):
        assert explain(evidence(), text) is None


@pytest.mark.parametrize(
    ("key", "content", "told"),
    [
        (SECRET.encode(), CONTENT, "whole text of the secret"),
        (SECRET[6:].encode(), CONTENT, "without decoding their base64"),
        (KEY, BODY, "the body alone was signed"),
        (KEY, f"{AT}.".encode() + BODY, "the id was left out"),
        (KEY, f"{ID}.".encode() + BODY, "the timestamp was left out"),
        (KEY, f"{AT}.{ID}.".encode() + BODY, "wrong order"),
        (KEY, f"{ID}{AT}".encode() + BODY, "full stops"),
        (KEY, f"{ID}.{AT}.{BODY!r}".encode(), "Python's bytes"),
        (KEY, f"{ID}.{AT}.{VALUE}".encode(), "Python's dict"),
        (KEY, f"{ID}.{AT}.[object Object]".encode(), "[object Object]"),
        (KEY, f"{ID}.{AT}.".encode(), "an empty body"),
        (KEY, f"{ID}.{AT}.{json.dumps(VALUE)}".encode(), "parsed or decoded first"),
        (SECRET.encode(), f"{ID}.{AT}.{json.dumps(VALUE, indent=2)}".encode(), "pretty-printed"),
    ],
)
def test_each_usual_mistake_is_named(key: bytes, content: bytes, told: str) -> None:
    found = explain(evidence(), computed(key, content))
    assert found is not None and (found.verdict, told in found.text) == ("receiver", True)
    assert ("whole text" in found.text) is (key == SECRET.encode())


def test_what_no_mistake_explains_is_said_to_be_unexplained() -> None:
    other = explain(evidence(), computed(b"x" * 24, CONTENT))
    assert other is not None and "no mistake that this knows" in other.text
    for text in ("", "v1,", "zz" * 32, "AAAA", "é"):
        refused = explain(evidence(), text)
        assert refused is not None and "32 bytes" in refused.text
