from __future__ import annotations

from collections import deque
from dataclasses import replace
from decimal import Decimal

from service.sandbox.accounts import Account, Turned, in_time, label
from service.sandbox.rules import Rate, Rules

RULES = Rules(
    credits=100,
    concurrency_limit=None,
    rate=None,
    query_rate=None,
    faults="",
    query_faults="",
    webhook_secret=None,
)


def account() -> Account:
    return Account(company="ulazai", key="hush-hush")


def test_at_most_so_many_pass_in_any_span() -> None:
    passed: deque[float] = deque()
    moments = [0.0, 0.1, 0.2, 0.9, 1.0, 1.05, 1.1]
    assert [in_time(passed, Rate(count=2, seconds=1), now) for now in moments] == [
        True,
        True,
        False,
        False,
        True,
        False,
        True,
    ]


def test_balance_is_what_was_given_less_what_was_spent() -> None:
    mine = account()
    assert mine.short_of(RULES, "ulazai", Decimal(100), 0) is None
    mine.spent = Decimal(1)
    assert mine.short_of(RULES, "ulazai", Decimal(100), 0) is Turned.ARREARS
    assert mine.short_of(replace(RULES, credits=101), "ulazai", Decimal(100), 0) is None


def test_open_jobs_are_counted_by_contract() -> None:
    mine = account()
    mine.open["ulazai"] = 2
    rules = replace(RULES, concurrency_limit=2)
    assert mine.short_of(rules, "ulazai", Decimal(1), 0) is Turned.TOO_MANY
    assert mine.short_of(rules, "ulazai-2.6", Decimal(1), 0) is None


def test_create_that_is_refused_for_another_reason_does_not_count_against_the_rate() -> None:
    mine = account()
    rules = replace(RULES, rate=Rate(count=1, seconds=60))
    assert mine.short_of(rules, "ulazai", Decimal(101), 0) is Turned.ARREARS
    assert mine.short_of(rules, "ulazai", Decimal(1), 0) is None
    assert mine.short_of(rules, "ulazai", Decimal(1), 59) is Turned.TOO_FAST


def test_queries_have_a_rate_of_their_own() -> None:
    mine = account()
    rules = replace(RULES, query_rate=Rate(count=1, seconds=60))
    assert [mine.hurries(rules, now) for now in (0.0, 1.0, 60.0)] == [False, True, False]


def test_label_is_steady_and_tells_nothing() -> None:
    assert label("hush-hush") == account().label != label("hush-husk")
    assert "hush" not in account().label + repr(account())
