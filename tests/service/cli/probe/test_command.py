"""Nothing is bought without an amount that covers it and somebody's word."""

from __future__ import annotations

import pytest

from tests.service.cli.probe.scene import Prober

REFUSED = {
    "no amount": ((), "Say what it may cost: --spend-up-to 2.4"),
    "too little": (("--spend-up-to", "2.39"), "about 2.4 unit, more than 2.39. Nothing was bought"),
    "another unit": (("--spend-up-to", "9", "--unit", "EUR"), "counts in unit, not in EUR"),
    "no number": (("--spend-up-to", "lots"), "takes an amount"),
    "not a number": (("--spend-up-to", "NaN"), "takes an amount"),
    "infinity": (("--spend-up-to", "Infinity"), "takes an amount"),
    "no such model": (("--spend-up-to", "9", "--model", "kling-9"), "has no model 'kling-9'"),
    "nobody agrees": (("--spend-up-to", "9"), "To buy it: --yes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_buys_nothing_without_an_amount_that_covers_it_and_a_yes(name: str, prober: Prober) -> None:
    arguments, why = REFUSED[name]
    ended = prober.probe("cloudsway", *arguments)
    assert ended.code in (1, 2) and why in ended.why
    assert prober.bought() == 0 and not (prober.folder / "out").exists()


def test_an_account_that_is_unknown_off_or_unpriced_is_refused_with_its_line(prober: Prober) -> None:
    assert "there is no account 'nope'" in prober.probe("nope", "--spend-up-to", "1").why
    prober.settings["TASKRELAY_ACCOUNTS__CLOUDSWAY__ENABLED"] = "false"
    assert "TASKRELAY_ACCOUNTS__CLOUDSWAY__ENABLED=true" in prober.probe("cloudsway", "--spend-up-to", "9").why
    del prober.settings["TASKRELAY_ACCOUNTS__ACEDATA__UNITS_PER_SECOND"]
    unpriced = prober.probe("acedata", "--spend-up-to", "999", "--yes")
    assert "TASKRELAY_ACCOUNTS__ACEDATA__UNITS_PER_SECOND=" in unpriced.why and prober.bought() == 0
