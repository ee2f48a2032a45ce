"""What doctor tells: each mistake once, with a line that mends it, and never a secret."""

from __future__ import annotations

import json

from service.settings import Problem, load, masked, problems

KEY = "9f8c1e5b7a3d2460" * 2
GOOD = {
    "TASKRELAY_PUBLIC_URL": "https://relay.example.com",
    "TASKRELAY_SECRET_KEYS": KEY,
    "TASKRELAY_ACCOUNTS__ULAZAI__API_KEY": "k",
}
PROVIDERS = ("cloudsway", "acedata", "ulazai", "apiinone")


def told(environ: dict[str, str]) -> list[Problem]:
    return problems(load(environ), environ, providers=PROVIDERS)


def only(environ: dict[str, str]) -> Problem:
    found = told({**GOOD, **environ})
    assert len(found) == 1, found
    return found[0]


def test_good_settings_have_no_problem() -> None:
    assert told(GOOD) == []


def test_the_fix_of_every_problem_with_one_line_mends_it() -> None:
    broken = {
        "TASKRELAY_ACCOUNTS__ACEDATA__RATE": "1/s",
        "TASKRELAY_ACCOUNTS__CLOUDSWAY__API_KEY": "k",
        "TASKRELAY_ACCOUNTS__ULAZAI__BASE_URL": "http://127.0.0.1:9000",
        "TASKRELAY_ACCOUNTS__SPARE__API_KEY": "k",
        "TASKRELAY_ACCOUNTS__SPARE__PROVIDER": "ulazi",
    }
    environ, found = {**GOOD, **broken}, told({**GOOD, **broken})
    assert len(found) == 5
    for problem in found:
        name, _, value = problem.fix.partition("=")
        environ[name] = "abc" if value.startswith("<") else value.split("   ")[0]
    assert told(environ) == []


def test_an_unknown_variable_is_told_with_the_nearest_name() -> None:
    problem = only({"TASKRELAY_ACCOUNTS__ULAZAI__API_KEYS": "canary"})
    assert problem.text.startswith("TASKRELAY_ACCOUNTS__ULAZAI__API_KEYS is no setting")
    assert problem.fix == "rename it to TASKRELAY_ACCOUNTS__ULAZAI__API_KEY"
    assert only({"TASKRELAY_XYZZY": "1"}).fix == "unset TASKRELAY_XYZZY"


def test_variables_that_the_command_reads_itself_are_known() -> None:
    environ = {**GOOD, "TASKRELAY_URL": "x"}
    assert problems(load(environ), environ, clients=("TASKRELAY_URL",)) == []


def test_without_an_account_nothing_can_be_bought() -> None:
    assert "no account" in told({**{k: v for k, v in GOOD.items() if "ACCOUNTS" not in k}})[0].text
    assert "No account is enabled" in only({"TASKRELAY_ACCOUNTS__ULAZAI__ENABLED": "0"}).text


def test_an_account_without_a_key_is_told() -> None:
    problem = only({"TASKRELAY_ACCOUNTS__ACEDATA__RATE": "1/s"})
    assert (problem.text, problem.note) == ("accounts.acedata has no key", False)
    assert problem.fix.startswith("TASKRELAY_ACCOUNTS__ACEDATA__API_KEY=")


def test_cloudsway_needs_its_endpoint_path() -> None:
    cloudsway = {"TASKRELAY_ACCOUNTS__CLOUDSWAY__API_KEY": "k"}
    assert "no endpoint path" in only(cloudsway).text
    assert told({**GOOD, **cloudsway, "TASKRELAY_ACCOUNTS__CLOUDSWAY__ENDPOINT_PATH": "abc"}) == []


def test_the_undocumented_provider_is_explained_while_off() -> None:
    problem = only({"TASKRELAY_ACCOUNTS__APIINONE__API_KEY": "k"})
    assert problem.note
    assert problem.fix == "TASKRELAY_ACCOUNTS__APIINONE__ENABLED=true"


def test_an_unknown_provider_is_told_with_those_there_are() -> None:
    problem = only({"TASKRELAY_ACCOUNTS__CLOUDSWAI__API_KEY": "k"})
    assert "there are acedata, apiinone, cloudsway, ulazai" in problem.text
    assert problem.fix == "TASKRELAY_ACCOUNTS__CLOUDSWAI__PROVIDER=cloudsway"


def test_plain_http_and_other_ports_need_to_be_allowed() -> None:
    base = {"TASKRELAY_ACCOUNTS__ULAZAI__BASE_URL": "http://127.0.0.1:9000"}
    outside, port = told({**GOOD, **base})
    assert outside.fix.startswith("TASKRELAY_EGRESS__ALLOW=127.0.0.0/8 ")
    assert port.fix == "TASKRELAY_EGRESS__PORTS=443,9000"
    allowed = {"TASKRELAY_EGRESS__ALLOW": "127.0.0.0/8", "TASKRELAY_EGRESS__PORTS": "*"}
    assert told({**GOOD, **base, **allowed}) == []
    assert "inside" in only({**base, **allowed, "TASKRELAY_EGRESS__ALLOW": "10.0.0.0/8"}).text


def test_without_a_public_url_every_task_is_polled_and_that_is_a_note() -> None:
    found = told({k: v for k, v in GOOD.items() if "PUBLIC" not in k})
    assert [problem.note for problem in found] == [True]
    assert "every task is polled" in found[0].text
    assert "plain http" in only({"TASKRELAY_PUBLIC_URL": "http://relay.example.com"}).text


def test_keys_may_be_missing_on_sqlite_only() -> None:
    bare = {k: v for k, v in GOOD.items() if "SECRET" not in k}
    assert [problem.note for problem in told(bare)] == [True]
    found = told({**bare, "TASKRELAY_DATABASE_URL": "postgresql://u:canary@h/d"})
    assert [problem.note for problem in found] == [False]
    assert "canary" not in repr(found)


def test_trust_and_unsafe_timing_are_noted() -> None:
    assert "trusts unsigned pushes" in only({"TASKRELAY_ACCOUNTS__ULAZAI__CALLBACKS": "trust"}).text
    assert "UNSAFE_TIMING lifts" in only({"TASKRELAY_UNSAFE_TIMING": "1"}).text


def test_mistakes_come_before_notes() -> None:
    assert [problem.note for problem in told({})] == [False, True, True]


def test_what_is_in_force_is_shown_without_secrets() -> None:
    environ = {
        **GOOD,
        "TASKRELAY_DATABASE_URL": "postgresql://relay:canary@host/name?sslmode=require&password=canary",
        "TASKRELAY_ACCOUNTS__ULAZAI__API_KEY": "canary",
        "TASKRELAY_ACCOUNTS__ULAZAI__WEBHOOK_SECRET": "canary",
        "TASKRELAY_ACCOUNTS__ULAZAI__RATE": "5/s",
        "TASKRELAY_ACCOUNTS__ULAZAI__UNIT_PRICE": "0.01 USD",
        "TASKRELAY_EGRESS__ALLOW": "10.0.0.0/8",
    }
    shown = masked(load(environ))
    text = json.dumps(shown)
    assert "canary" not in text
    assert KEY not in text
    assert shown["database_url"] == "postgresql://relay:***@host/name?sslmode=require&password=***"
    assert shown["secret_keys"] == ["set, 32 bytes"]
    assert shown["egress"] == {"allow": ["10.0.0.0/8"], "ports": [443], "per_host": 128}
    assert shown["roles"] == ["api", "work"]
    account = shown["accounts"]["ulazai"]
    assert (account["api_key"], account["rate"], account["unit_price"]) == ("set, 6 characters", "5/s", "0.01 USD")


def test_a_public_address_that_a_public_provider_cannot_reach_is_wrong() -> None:
    for url in (
        "https://localhost",
        "http://127.0.0.1:8080",
        "https://10.1.2.3",
        "https://relay",
        "https://relay.local",
    ):
        found = [one for one in told({**GOOD, "TASKRELAY_PUBLIC_URL": url}) if not one.note]
        assert [one.fix for one in found] == ["TASKRELAY_PUBLIC_URL=https://relay.example.com"], url
        assert "accounts.ulazai's provider cannot reach" in found[0].text


def test_a_provider_on_this_machine_may_push_to_it() -> None:
    home = {
        "TASKRELAY_PUBLIC_URL": "http://127.0.0.1:8080",
        "TASKRELAY_ACCOUNTS__ULAZAI__BASE_URL": "http://127.0.0.1:9",
    }
    environ = {**GOOD, **home, "TASKRELAY_EGRESS__ALLOW": "127.0.0.0/8", "TASKRELAY_EGRESS__PORTS": "9,443"}
    assert told(environ) == []


def test_nobody_pushes_where_callbacks_are_off() -> None:
    environ = {**GOOD, "TASKRELAY_PUBLIC_URL": "https://localhost", "TASKRELAY_ACCOUNTS__ULAZAI__CALLBACKS": "off"}
    assert told(environ) == []
    del environ["TASKRELAY_ACCOUNTS__ULAZAI__CALLBACKS"]
    assert problems(load(environ), environ, pushing=("cloudsway", "acedata")) == []


def test_ranges_that_let_subscribers_into_the_network_are_to_be_known() -> None:
    problem = only({"TASKRELAY_EGRESS__ALLOW": "10.1.0.0/16,0.0.0.0/0"})
    assert (
        problem.note and "0.0.0.0/0" in problem.text and problem.fix.startswith("TASKRELAY_EGRESS__ALLOW=10.1.0.0/16 ")
    )
    assert told({**GOOD, "TASKRELAY_EGRESS__ALLOW": "127.0.0.0/8,10.0.0.0/8"}) == []


def test_keeping_for_ever_is_to_be_known() -> None:
    problem = only({"TASKRELAY_RETENTION__RAW_DAYS": "0", "TASKRELAY_RETENTION__TASKS_DAYS": "0"})
    assert problem.note and problem.fix == "TASKRELAY_RETENTION__RAW_DAYS=30"
    assert "RETENTION__RAW_DAYS, TASKRELAY_RETENTION__TASKS_DAYS keeps for ever" in problem.text
