from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from service.cli.terminal import Stop
from service.cli.when import instant


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-11-20T21:10:00Z", "2026-11-20T21:10:00.000000Z"),
        ("2026-11-20T22:10:00.5+01:00", "2026-11-20T21:10:00.500000Z"),
    ],
)
def test_an_instant_is_told_in_utc_with_six_digits(text: str, meant: str) -> None:
    assert instant(text) == meant


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90s", timedelta(seconds=90)),
        ("2h", timedelta(hours=2)),
        ("3d", timedelta(days=3)),
        ("5m", timedelta(minutes=5)),
    ],
)
def test_so_long_ago_is_counted_from_now(text: str, span: timedelta) -> None:
    before = datetime.now(UTC)
    at = datetime.fromisoformat(instant(text))
    assert before - span <= at <= datetime.now(UTC) - span


@pytest.mark.parametrize("text", ["yesterday", "2026-11-20T21:10:00", "", "-2h", "9999999d", "999999d", "2w"])
def test_anything_else_is_refused_with_how_to_write_it(text: str) -> None:
    with pytest.raises(Stop, match="2h, 3d") as stop:
        instant(text)
    assert stop.value.code == 2
