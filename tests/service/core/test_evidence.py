from __future__ import annotations

import pytest

from service.core.evidence import message_of, span
from service.core.signature import NAMES, usable
from tests.service.core.received import AT, BODY, ID, OTHER, SECRET, signed_by


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (301, "5 min 1 s"),
        (3600, "1 h"),
        (7380, "2 h 3 min"),
        (400_000, "4 days"),
    ],
)
def test_spans_are_told_as_people_say_them(seconds: int, told: str) -> None:
    assert span(seconds) == told


def test_a_message_fits_the_secret_that_signed_it_and_no_other() -> None:
    message = message_of(dict(zip(NAMES, (ID, str(AT), signed_by()), strict=True)), BODY)
    assert message is not None
    assert message.fits(usable([SECRET])) and not message.fits(usable([OTHER])) and not message.fits(usable([]))


@pytest.mark.parametrize("stated", [("a.b", "1", "v1,x"), ("a", "01", "v1,x"), ("a", "1", " ".join(["v1,x"] * 40))])
def test_headers_of_another_form_make_no_message(stated: tuple[str, str, str]) -> None:
    assert message_of(dict(zip(NAMES, stated, strict=True)), b"") is None
