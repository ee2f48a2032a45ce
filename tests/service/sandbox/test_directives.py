from __future__ import annotations

import pytest

from service.sandbox.directives import Directives, UnknownDirective, in_prompt, parse


def test_prompt_without_directives_orders_good_behaviour() -> None:
    assert parse(in_prompt("A cat [in a box] runs.")) == Directives()


def test_directives_combine_with_commas_and_across_brackets() -> None:
    orders = parse(in_prompt("A cat [sandbox: no-push, seconds=0.5] runs [sandbox:fail]"))
    assert orders == Directives(no_push=True, seconds=0.5, fail=True)


def test_later_order_outranks_an_earlier_one() -> None:
    assert parse("status=500,hang", "status=429") == Directives(status=429, hang=True)


def test_code_is_a_number_or_a_word() -> None:
    assert [parse(f"code={code}").code for code in ("1101", "used_up")] == ["1101", "used_up"]


@pytest.mark.parametrize(
    "order",
    [
        "no-pusch",
        "no-push=1",
        "late-push",
        "status=much",
        "status=99",
        "seconds=-1",
        "seconds=nan",
        "code=",
        "code=a b",
    ],
)
def test_misspelt_directive_is_an_error_that_names_it(order: str) -> None:
    with pytest.raises(UnknownDirective, match=order.partition("=")[0]):
        parse(order)
