from __future__ import annotations

import pytest

from service.api.rotation import OVERLAP_DEFAULT, overlap_of
from service.core.request import Fault


@pytest.mark.parametrize(
    ("body", "seconds"), [({}, 86_400), ({"overlap_seconds": 0}, 0), ({"overlap_seconds": 604_800}, 604_800)]
)
def test_a_day_by_default_and_a_week_at_most(body: dict[str, object], seconds: int) -> None:
    faults: list[Fault] = []
    assert (overlap_of(body, faults), faults) == (seconds, [])


@pytest.mark.parametrize("stated", [-1, 604_801, True, 1.0, "60", None])
def test_anything_else_is_a_fault(stated: object) -> None:
    faults: list[Fault] = []
    assert overlap_of({"overlap_seconds": stated}, faults) == OVERLAP_DEFAULT
    assert [fault.pointer for fault in faults] == ["/overlap_seconds"]
