from __future__ import annotations

from tests.service.cli.conftest import Relay
from tests.service.cli.inside import said, said_json


def test_a_key_says_whose_it_is_and_what_it_may_do_and_not_what_it_is(relay: Relay) -> None:
    found = said_json(relay, "whoami")
    shown = said(relay, "whoami")
    assert shown.out.splitlines()[0] == f"{found['id']}  tests"
    assert f"({found['project']['id']})" in shown.out and "endpoints, read, tasks" in shown.out
    assert relay.client["TASKRELAY_KEY"] not in shown.out


def test_without_a_key_it_says_how_to_give_one(relay: Relay) -> None:
    ended = said(relay, "whoami", "--key", "")
    assert ended.code == 1 and ended.err.startswith("401 unauthorized  ")
    assert ended.err.splitlines()[-1] == "    No key was given. Set TASKRELAY_KEY, or give --key"
