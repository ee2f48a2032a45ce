"""How `projects` reads its command line and writes its pages; what it does is tried in test_tenants."""

from __future__ import annotations

import pytest

from service.cli.projects import OnAmbiguous, _body, _money, _page
from service.cli.terminal import Stop

PROJECT = {"id": "prj_1", "name": "shop", "on_ambiguous": "hold", "created_at": "2026-11-21T00:00:00Z"}


def test_only_what_is_said_is_sent() -> None:
    assert _body(None, False, None, None) == {}
    assert _body(OnAmbiguous.RESUBMIT, True, "5 EUR total", 3) == {
        "on_ambiguous": "resubmit",
        "possible_double_charge": True,
        "budget": {"amount": "5", "currency": "EUR", "period": "total"},
        "max_open_tasks": 3,
    }


@pytest.mark.parametrize("budget", ["", "5", "5 USD", "5 USD a month"])
def test_a_budget_of_other_than_three_words_is_wrong_usage(budget: str) -> None:
    with pytest.raises(Stop) as stopped:
        _body(None, False, budget, None)
    assert stopped.value.code == 2


def test_a_page_tells_of_what_is_not_bounded() -> None:
    page = "\n".join(_page({**PROJECT, "budget": None, "max_open_tasks": None}))
    assert "budget       none" in page and "open tasks   no bound" in page


def test_a_budget_is_told_with_what_is_used() -> None:
    budget = {"amount": "50", "currency": "USD", "period": "month", "used": "1.20"}
    assert _money(budget) == "50 USD a month, 1.20 used"
    assert _money({**budget, "period": "total"}) == "50 USD in all, 1.20 used"
    assert _money(None) is None
