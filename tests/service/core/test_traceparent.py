from __future__ import annotations

import pytest

from service.core import traceparent

GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_good_one_is_kept_as_it_came() -> None:
    assert traceparent.read(GOOD) == GOOD
    assert traceparent.read(f" {GOOD}\t") == GOOD


@pytest.mark.parametrize(
    "stated",
    [
        "",
        GOOD.upper(),
        GOOD.replace("00-", "01-", 1),
        GOOD.replace("00-", "ff-", 1),
        GOOD + "-more",
        GOOD + "\n",
        GOOD[:-1],
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
        GOOD.replace("-", "_"),
        "\u0660" * 55,
        " " * 10_000 + GOOD,
    ],
)
def test_whatever_is_not_one_is_as_if_it_were_not_there(stated: str) -> None:
    assert traceparent.read(stated) is None


def test_what_is_written_is_read() -> None:
    written = traceparent.write(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0xF067AA0BA902B7, 1)
    assert written == GOOD == traceparent.read(written)
