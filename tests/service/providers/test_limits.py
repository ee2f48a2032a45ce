"""The price lists, cell by cell as the providers print them, and sums that stay exact."""

from __future__ import annotations

from decimal import Decimal

import pytest

from service.core import money
from service.core.events import money_view
from service.core.request import TaskRequest
from service.providers import limits
from service.providers.limits import Price
from service.providers.registry import PROVIDERS

LENGTHS = (3, 5, 8, 10, 15)
ULAZAI_30 = {
    ("std", False): (60, 100, 160, 200, 300),
    ("std", True): (90, 150, 240, 300, 450),
    ("pro", False): (81, 135, 216, 270, 405),
    ("pro", True): (120, 200, 320, 400, 600),
}
CLOUDSWAY = {
    "720p": dict(zip((3, 5, 7, 10, 15), ("2.4", "4", "5.6", "8", "12"), strict=True)),
    "1080p": dict(zip((3, 5, 7, 10, 15), ("3", "5", "7", "10", "15"), strict=True)),
}


def estimate(provider: str, model: str, **input: object) -> str:
    request = TaskRequest(provider=provider, model=model, input={"prompt": "p", **input})
    found = PROVIDERS[provider].prepare(request).estimate.amount
    assert found is not None
    return money.plain(found)


@pytest.mark.parametrize(("mode", "sound"), list(ULAZAI_30))
@pytest.mark.parametrize("place", range(len(LENGTHS)))
def test_every_cell_of_ulazais_table(mode: str, sound: bool, place: int) -> None:
    cell = ULAZAI_30[mode, sound][place]
    given: dict[str, object] = {"mode": mode, "sound": sound, "duration": LENGTHS[place]}
    assert estimate("ulazai", "kling-3.0", **given) == str(cell)
    assert estimate("ulazai", "kling-3.0", **given, share_publicly=True) == str(cell - 10)


@pytest.mark.parametrize("resolution", list(CLOUDSWAY))
@pytest.mark.parametrize("seconds", [3, 5, 7, 10, 15])
def test_every_cell_of_klings_table(resolution: str, seconds: int) -> None:
    assert (
        estimate("cloudsway", "kling-3.0-turbo", resolution=resolution, duration=seconds)
        == CLOUDSWAY[resolution][seconds]
    )


@pytest.mark.parametrize(
    ("provider", "model", "input", "price", "worth"),
    [
        ("cloudsway", "kling-3.0-turbo", {"resolution": "1080p", "duration": 15}, "0.14 USD", "2.1"),
        ("cloudsway", "kling-3.0-turbo", {"resolution": "720p", "duration": 5}, "0.14 USD", "0.56"),
        (
            "ulazai",
            "kling-3.0",
            {"mode": "pro", "sound": True, "duration": 8, "share_publicly": True},
            "0.01 EUR",
            "3.1",
        ),
        (
            "ulazai",
            "kling-3.0",
            {"mode": "pro", "sound": True, "duration": 10, "share_publicly": True},
            "0.01 EUR",
            "3.9",
        ),
    ],
)
def test_the_worked_examples_in_money(
    provider: str, model: str, input: dict[str, object], price: str, worth: str
) -> None:
    view = money_view(estimate(provider, model, **input), None, price)
    assert view is not None and view["estimated"] == worth


def test_every_line_that_fits_counts_and_none_is_no_price() -> None:
    lines = (
        Price(unit="u", amount=Decimal("0.1"), when={"mode": "std"}),
        Price(unit="u", amount=Decimal("0.2"), per="task", when={"mode": "std", "sound": True}),
    )
    assert limits.cost(lines, {"mode": "std", "duration": 3}) == Decimal("0.3")
    assert limits.cost(lines, {"mode": "std", "sound": True, "duration": 3}) == Decimal("0.5")
    assert limits.cost(lines, {"mode": "pro", "duration": 3}) is None
    assert limits.cost((), {}) is None
