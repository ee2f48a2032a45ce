from __future__ import annotations

from service.cli.providers import price_line
from tests.service.cli.conftest import Relay
from tests.service.cli.inside import said, said_json


def test_every_contract_is_listed_with_its_models_and_how_its_accounts_do(relay: Relay) -> None:
    head, *rows = said(relay, "providers", "list").out.splitlines()
    assert head.split() == ["PROVIDER", "MODEL", "LEARNS", "BY", "ACCOUNTS", "HEALTH"]
    known = {
        (one["name"], model["name"]) for one in said_json(relay, "providers", "list")["data"] for model in one["models"]
    }
    assert {tuple(row.split()[:2]) for row in rows} == known and ("cloudsway", "kling-3.0-turbo") in known
    [turbo] = [row for row in rows if "kling-3.0-turbo" in row]
    assert turbo.split()[2:] == ["pushes", "and", "polls", "cloudsway", "well"]


def test_one_says_what_its_models_take_and_cost(relay: Relay) -> None:
    shown = said(relay, "providers", "get", "cloudsway").out.splitlines()
    assert shown[0] == "cloudsway  learns by pushes and polls" and "  account    cloudsway  well" in shown
    assert "  lost reply looked up" in shown
    assert "  price      0.8 unit per second, resolution 720p" in shown


def test_one_that_is_not_there_says_which_are(relay: Relay) -> None:
    ended = said(relay, "providers", "get", "sora")
    assert ended.code == 1 and "There is cloudsway" in ended.err


def test_a_price_is_told_whatever_it_depends_on() -> None:
    assert price_line({"unit": "credit", "amount": "4", "per": "job"}) == "4 credit per job"
    assert price_line(
        {"unit": "credit", "amount": "4", "per": "second", "when": {"quality": "pro", "sound": True}}
    ) == ("4 credit per second, quality pro, sound True")
