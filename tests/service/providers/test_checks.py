"""What a refusal says to the one who has to change the request."""

from __future__ import annotations

import pytest

from service.core.request import Invalid
from service.providers import limits
from service.providers.base import Model
from service.providers.checks import Check, unfit
from service.providers.registry import PROVIDERS
from tests.service.providers.builders import request

MODELS = {"m": Model(name="m", inputs=frozenset({"prompt", "quality", "mode"}), options=frozenset({"b", "a"}))}


def check(input: dict[str, object], **more: object) -> Check:
    return Check("here", MODELS, request("ulazai", input, model="m", **more), lambda: PROVIDERS)


def details(found: Check) -> list[str]:
    with pytest.raises(Invalid) as told:
        found.settle()
    return [fault.detail for fault in told.value.faults]


def test_a_request_without_faults_settles() -> None:
    check({"prompt": "A."}).settle()


def test_a_missing_word_names_every_contract_that_has_it() -> None:
    able = "cloudsway/kling-3.0-turbo, acedata/kling-v3, ulazai/kling-3.0 and apiinone/kling-3 have it"
    assert details(check({"duration": 5})) == [f"here/m has no duration. {able}. Leave it out."]


def test_an_option_outside_the_list_is_answered_with_the_list() -> None:
    told = details(check({}, provider_options={"price": 1}))
    assert told == ['here/m takes no provider option "price". It takes a and b. Leave it out.']


def test_a_level_may_be_given_in_either_word() -> None:
    levels = {"standard": "std", "pro": "pro"}
    assert check({}).level(levels, "mode") == ("standard", "std")
    assert check({"mode": "pro"}).level(levels, "mode") == ("pro", "pro")
    assert check({"quality": "pro"}).level(levels, "mode") == ("pro", "pro")


def test_values_that_no_parser_let_through_are_faults_or_nothing_and_never_errors() -> None:
    words = {"images": limits.links(2), "shots": limits.shots(2, 10), "cfg_scale": limits.number(0, 1)}
    model = Model(name="m", inputs=frozenset({"prompt", "negative_prompt", *words}), limits=words)
    input: dict[str, object] = {"prompt": 7, "images": "x", "shots": 3, "cfg_scale": "0.5", "negative_prompt": 7}
    odd = Check("here", {"m": model}, request("ulazai", input, model="m"), lambda: PROVIDERS)
    assert odd.prompt(10) is None
    assert (odd.urls("images", 2), odd.shots(2, 10)) == ([], [])
    assert (odd.number("cfg_scale"), odd.text("negative_prompt")) == (None, None)
    assert details(odd) == ["here/m needs a prompt.", "here/m takes a number from 0 to 1 for cfg_scale."]


def test_a_word_that_the_model_lacks_is_one_fault_whatever_it_holds() -> None:
    lacking = check({"prompt": "p", "images": ["x"], "shots": [{"prompt": "", "duration": 0}]})
    assert (lacking.urls("images"), lacking.shots()) == ([], [])
    assert len(details(lacking)) == 2


def test_a_text_beside_the_prompt_may_be_blank_and_is_as_long_as_its_table_says() -> None:
    limited = {"negative_prompt": limits.text(3, blank=True)}
    model = Model(name="m", inputs=frozenset(limited), limits=limited)
    for value, faults in (("", 0), ("   ", 0), ("fog", 0), ("    ", 1), ("mist", 1)):
        found = Check("here", {"m": model}, request("ulazai", {"negative_prompt": value}, model="m"), dict)
        assert (found.text("negative_prompt"), len(found.faults)) == (value, faults)


def test_too_long_a_prompt_says_by_how_much() -> None:
    found = check({"prompt": "x" * 12})
    found.prompt(10)
    assert details(found) == ["here/m takes at most 10 characters here, not 12. Shorten it by 2."]


def test_a_model_of_another_contract_is_sent_to_its_owner() -> None:
    with pytest.raises(Invalid, match=r"^/model: here has no \"kling-3.0\". It has m; kling-3.0 is ulazai's.$"):
        Check("here", MODELS, request("ulazai", {}, model="kling-3.0"), lambda: PROVIDERS)


@pytest.mark.parametrize(
    ("limit", "good", "bad", "told"),
    [
        (limits.flag(False), (True, False), (1, "true", None), "true or false"),
        (limits.seconds(3, 15), (3, 15), (2, 16, True, "5", 5.0), "a whole number from 3 to 15"),
        (limits.number(0, 1), (0, 0.5, 1), (-0.1, 1.1, True, "1"), "a number from 0 to 1"),
        (limits.choice(("a", "b")), ("a", "b"), ("c", 1), "a and b"),
        (limits.text(3), ("abc",), ("abcd", 7), "at most 3 characters"),
        (limits.link(), ("https://a.example/x",), ("ftp://a.example", 7), "a public http or https URL"),
    ],
)
def test_a_native_field_is_held_against_its_limit(
    limit: limits.Limit, good: tuple[object, ...], bad: tuple[object, ...], told: str
) -> None:
    assert [unfit(value, limit) for value in good] == [None] * len(good)
    assert [unfit(value, limit) for value in bad] == [told] * len(bad)


def test_a_number_that_no_table_has_is_a_mistake_of_the_contract() -> None:
    with pytest.raises(LookupError):
        check({"prompt": "p"}).prompt()
