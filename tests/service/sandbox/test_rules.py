from __future__ import annotations

import pytest

from service.sandbox.jobs import Knobs
from service.sandbox.rules import CONTRACT_NAMES, BadRule, Book, Rate, Scope, rate, scoped, turned


def test_the_narrower_rule_wins_and_leaves_the_others_alone() -> None:
    book = Book()
    book.change(Scope("acedata"), {"credits": 50})
    book.change(Scope(None, "a"), {"credits": 30, "rate": "1/s"})
    book.change(Scope("acedata", "a"), {"credits": 10})
    knobs = Knobs(credits=100)
    found = [book.resolve(knobs, contract, key).credits for contract in ("acedata", "apiinone") for key in ("a", "b")]
    assert found == [10, 50, 30, 100]
    assert book.resolve(knobs, "acedata", "a").rate == Rate(count=1, seconds=1)


def test_faults_of_every_scope_hold_together() -> None:
    book = Book({Scope("acedata"): {"faults": "fail"}, Scope(None, "a"): {"faults": "seconds=0"}})
    faults = book.resolve(Knobs(faults="seconds=9"), "acedata", "a").faults
    assert faults == "seconds=9,fail,seconds=0"


def test_what_holds_for_a_company_holds_for_its_second_contract_until_that_has_its_own() -> None:
    book = Book({Scope("ulazai"): {"credits": 0}})
    assert book.resolve(Knobs(), "ulazai-2.6", "a").credits == 0
    book.change(Scope("ulazai-2.6"), {"credits": 7})
    assert [book.resolve(Knobs(), name, "a").credits for name in ("ulazai", "ulazai-2.6")] == [0, 7]


def test_none_gives_a_rule_back_and_the_last_one_takes_its_scope_along() -> None:
    book = Book({Scope("acedata"): {"credits": 0, "rate": "1/s"}})
    book.change(Scope("acedata"), {"credits": None})
    assert book.own == {Scope("acedata"): {"rate": "1/s"}}
    book.change(Scope("acedata"), {"rate": None})
    assert book.own == {}


@pytest.mark.parametrize(
    ("scope", "change", "named"),
    [
        (Scope("kling"), {"credits": 1}, "cloudsway, ulazai"),
        (Scope(), {"credits": 1}, "a knob"),
        (Scope("acedata"), {"job_seconds": 1}, "job_seconds"),
        (Scope("acedata"), {"credits": -1}, "credits"),
        (Scope("acedata"), {"rate": "fast"}, "rate"),
        (Scope("acedata"), {"faults": "no-pusch"}, "no-pusch"),
    ],
)
def test_wrong_rule_is_refused_by_name_and_changes_nothing(scope: Scope, change: dict[str, object], named: str) -> None:
    book = Book()
    with pytest.raises(BadRule, match=named):
        book.change(scope, {"query_rate": "1/s"} | change)
    assert book.own == {}


def test_refused_secret_is_not_repeated() -> None:
    with pytest.raises(BadRule) as caught:
        turned(Knobs(), {"webhook_secret": "hush hush"})
    assert "hush" not in str(caught.value)


def test_rates_are_read_in_four_spans() -> None:
    found = [rate(text) for text in ("1/s", "30/m", "24/h", "100/d")]
    assert [(one.count, one.seconds) for one in found if one] == [(1, 1), (30, 60), (24, 3_600), (100, 86_400)]
    assert rate(None) is None
    with pytest.raises(BadRule, match="24/h"):
        rate("1 per second")


@pytest.mark.parametrize(
    ("text", "scope", "value"),
    [
        ("500", Scope(), "500"),
        ("acedata:0", Scope("acedata"), "0"),
        ("@key-a:1/s", Scope(None, "key-a"), "1/s"),
        ("ulazai-2.6@key-a:no-push,fail", Scope("ulazai-2.6", "key-a"), "no-push,fail"),
    ],
)
def test_command_line_names_the_scope_before_a_colon(text: str, scope: Scope, value: str) -> None:
    assert scoped(text) == (scope, value)


def test_no_key_shows_in_the_repr_of_a_scope() -> None:
    assert "hush" not in repr(Scope("acedata", "hush"))


def test_contracts_are_the_five() -> None:
    from service.sandbox.app import CONTRACTS

    assert len(CONTRACT_NAMES) == len(CONTRACTS) == 5
