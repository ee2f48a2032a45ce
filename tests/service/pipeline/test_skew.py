from __future__ import annotations

import logging

import pytest

from service.pipeline.skew import Skew
from storage import clocks
from storage.database import Connection
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig


def told_by(rig: Rig, monkeypatch: pytest.MonkeyPatch, ahead_seconds: float) -> tuple[Skew, list[bool]]:
    """As if the database's clock were another: SQLite's is ours."""

    async def now(tx: Connection, *, now: int) -> int:
        return now - int(ahead_seconds * SECOND)

    monkeypatch.setattr(clocks, "now", now)
    judged: list[bool] = []
    return Skew(rig.database, clock=rig.clock, judged=judged.append), judged


@pytest.mark.parametrize(
    ("ahead", "noted", "refused"),
    [
        (0.0, None, False),
        (30.0, None, False),
        (-30.0, None, False),
        (31.0, "31 s ahead of the database's. Set both by NTP", False),
        (-31.0, "31 s behind the database's. Set both by NTP", False),
        (240.0, "240 s ahead of", False),
        (-241.0, "241 s behind the database's: receivers would refuse what is signed by it", True),
        (3600.0, "this process works no lane", True),
    ],
)
async def test_a_clock_that_is_off_is_told_and_one_that_receivers_would_refuse_works_nothing(
    still: Rig, monkeypatch: pytest.MonkeyPatch, ahead: float, noted: str | None, refused: bool
) -> None:
    skew, judged = told_by(still, monkeypatch, ahead)
    assert await skew.run_once() == 0
    assert skew.seconds == ahead and skew.refused is refused and judged == [not refused]
    assert (skew.noted is None) if noted is None else (skew.noted is not None and noted in skew.noted)


async def test_it_is_logged_once_and_not_at_every_look(
    still: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    skew, _ = told_by(still, monkeypatch, 50.0)
    with caplog.at_level(logging.ERROR, "taskrelay.skew"):
        await skew.run_once()
        await skew.run_once()
    assert [record.getMessage().split(" s ")[0] for record in caplog.records] == ["our clock is 50"]


async def test_on_sqlite_the_two_are_one(still: Rig) -> None:
    skew = Skew(still.database, clock=still.clock)
    await skew.run_once()
    assert abs(skew.seconds) < 0.001 and skew.noted is None
