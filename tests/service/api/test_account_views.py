from __future__ import annotations

from service.api.account_views import off, view
from service.core.care import Care
from service.core.schedule import Breaker
from service.core.times import SECOND, iso
from service.pipeline.figures import Figures, Pushes
from storage.records import Lane, LaneKind
from tests.service.api.house import House

NONE = Pushes(since=0, expected=0, seen=0)


def figures(lane: Lane | None, open_at_provider: int = 0) -> Figures:
    return Figures(
        lane=lane,
        queued=0,
        open_at_provider=open_at_provider,
        next_due_at=None,
        day=Pushes(since=5, expected=4, seen=1),
        week=NONE,
    )


async def test_an_open_breaker_says_when_it_is_tried_again(house: House) -> None:
    breaker = Breaker()
    for _ in range(10):
        breaker = breaker.record(7 * SECOND, ok=False)
    lane = Lane(kind=LaneKind.ACCOUNT, key="cloudsway", epoch=1, breaker=breaker.dump())
    shown = view(house.context.accounts["cloudsway"], figures(lane), house.context)
    assert shown["breaker"] == {"state": "open", "next_probe_at": iso(37 * SECOND)}
    assert shown["status"] == "active", "a breaker mends itself: that is no pause"


async def test_missing_pushes_are_shown_with_what_was_expected(house: House) -> None:
    lane = Lane(kind=LaneKind.ACCOUNT, key="cloudsway", epoch=1, care=Care(silent_since=9).dump())
    callbacks = view(house.context.accounts["cloudsway"], figures(lane), house.context)["callbacks"]
    assert isinstance(callbacks, dict)
    assert callbacks["missing_since"] == iso(9)
    assert callbacks["day"] == {"since": iso(5), "expected": 4, "seen": 1}


async def test_only_a_persons_pause_drains(house: House) -> None:
    account = house.context.accounts["cloudsway"]
    lane = Lane(kind=LaneKind.ACCOUNT, key="cloudsway", epoch=1, care=Care(paused_at=9).dump())
    assert view(account, figures(lane, 1), house.context)["status"] == "draining"
    assert view(account, figures(lane, 0), house.context)["status"] == "paused"
    assert view(account, figures(None, 1), house.context)["status"] == "active"


async def test_an_account_that_is_off_has_a_name_and_no_figures(house: House) -> None:
    shown = off("spare", "ulazai", house.context)
    assert (shown["name"], shown["status"], "queued" in shown) == ("spare", "disabled", False)
