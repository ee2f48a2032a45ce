"""Where settings come from: every variable, every file, and every mistake at once."""

from __future__ import annotations

import base64
from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path

import pytest

from service.settings import Settings, SettingsError, gather, load, shape
from service.settings.values import Rate, UnitPrice, UnitRate

KEYS = ["9f8c1e5b7a3d2460" * 2, "base64:" + base64.b64encode(bytes(range(40))).decode()]

EVERY = {
    "TASKRELAY_DATABASE_URL": "sqlite:////var/lib/taskrelay/t.db",
    "TASKRELAY_POSTGRES__POOLED": "true",
    "TASKRELAY_PUBLIC_URL": "https://relay.example.com",
    "TASKRELAY_SECRET_KEYS": ",".join(KEYS),
    "TASKRELAY_ACCOUNTS__MAIN__PROVIDER": "cloudsway",
    "TASKRELAY_ACCOUNTS__MAIN__API_KEY": "k-1",
    "TASKRELAY_ACCOUNTS__MAIN__BASE_URL": "https://api.example.com/v1",
    "TASKRELAY_ACCOUNTS__MAIN__ENDPOINT_PATH": "abc_1-2",
    "TASKRELAY_ACCOUNTS__MAIN__CALLBACKS": "off",
    "TASKRELAY_ACCOUNTS__MAIN__MAX_OPEN_TASKS": "7",
    "TASKRELAY_ACCOUNTS__MAIN__RATE": "24/h",
    "TASKRELAY_ACCOUNTS__MAIN__UNITS_PER_SECOND": "std=0.42, pro=0.84",
    "TASKRELAY_ACCOUNTS__MAIN__UNIT_PRICE": "0.01 USD",
    "TASKRELAY_ACCOUNTS__MAIN__ENABLED": "false",
    "TASKRELAY_ACCOUNTS__MAIN__WEBHOOK_SECRET": "whsec_x",
    "TASKRELAY_ACCOUNTS__MAIN__EXPECTED_SECONDS": "95",
    "TASKRELAY_EGRESS__ALLOW": "10.0.0.0/8, fd00::/8",
    "TASKRELAY_EGRESS__PORTS": "443,3000",
    "TASKRELAY_EGRESS__PER_HOST": "64",
    "TASKRELAY_ROLES": "work",
    "TASKRELAY_HOST": "0.0.0.0",
    "TASKRELAY_PORT": "9090",
    "TASKRELAY_UNSAFE_TIMING": "1",
    "TASKRELAY_TIMING__SUBMIT_DEADLINE_SECONDS": "1.5",
    "TASKRELAY_TIMING__SETTLE_SECONDS": "2.5",
    "TASKRELAY_TIMING__LANE_TTL_SECONDS": "13.5",
    "TASKRELAY_TIMING__HEARTBEAT_SECONDS": "0.5",
    "TASKRELAY_TIMING__ATTEMPT_TIMEOUT_SECONDS": "4.5",
    "TASKRELAY_TIMING__QUERY_TIMEOUT_SECONDS": "5.5",
    "TASKRELAY_RETENTION__RAW_DAYS": "3",
    "TASKRELAY_RETENTION__ATTEMPTS_DAYS": "4",
    "TASKRELAY_RETENTION__TASKS_DAYS": "5",
    "TASKRELAY_RETENTION__AUDIT_DAYS": "0",
    "TASKRELAY_FAILPOINT": "after_intent:2",
    "TASKRELAY_LOG_LEVEL": "debug",
    "TASKRELAY_METRICS_TOKEN": "a-token-for-metrics-1234",
    "TASKRELAY_ACCESS_LOG": "false",
    "TASKRELAY_TRACES__ENDPOINT": "http://127.0.0.1:4318/v1/traces",
    "TASKRELAY_TRUSTED_PROXIES": "10.0.0.0/8, fd00::/8",
    "TASKRELAY_API__RATE": "20/s",
    "TASKRELAY_CORS_ORIGINS": "https://a.example.com,https://b.example.com:8443",
    "TASKRELAY_MAX_CONNECTIONS": "100",
    "TASKRELAY_MAX_ADDRESS_CONNECTIONS": "10",
    "TASKRELAY_DOCS": "false",
    "TASKRELAY_MAX_STREAMS": "50",
    "TASKRELAY_MAX_PROJECT_STREAMS": "5",
}


@pytest.fixture(autouse=True)
def _an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(environ: dict[str, str], toml: Path | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        load(environ, toml)
    assert all(problem.fix for problem in caught.value.problems)
    return str(caught.value)


def test_every_documented_variable_can_be_set() -> None:
    assert {name.replace("__MAIN__", "__<NAME>__") for name in EVERY} == {v.variable for v in shape.leaves().values()}
    settings = load(EVERY)
    account = settings.accounts["main"]
    assert settings.database_url == "sqlite:////var/lib/taskrelay/t.db"
    assert settings.public_url == "https://relay.example.com"
    assert [key.get_secret_value() for key in settings.secret_keys] == [KEYS[0].encode(), bytes(range(40))]
    assert (account.provider, account.base_url, account.endpoint_path) == (
        "cloudsway",
        "https://api.example.com/v1",
        "abc_1-2",
    )
    assert (account.callbacks, account.max_open_tasks, account.enabled) == ("off", 7, False)
    assert (account.rate, account.unit_price) == (Rate(24, 3600), UnitPrice(Decimal("0.01"), "USD"))
    assert account.api_key
    assert account.webhook_secret
    assert (account.api_key.get_secret_value(), account.webhook_secret.get_secret_value()) == ("k-1", "whsec_x")
    assert account.units_per_second == (UnitRate("std", Decimal("0.42")), UnitRate("pro", Decimal("0.84")))
    assert account.expected_seconds == 95
    assert settings.egress.allow == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert settings.egress.ports == frozenset({443, 3000})
    assert settings.egress.per_host == 64
    assert settings.roles == frozenset({"work"})
    assert (settings.host, settings.port, settings.log_level) == ("0.0.0.0", 9090, "debug")
    assert settings.metrics_token is not None
    assert settings.metrics_token.get_secret_value() == "a-token-for-metrics-1234"
    assert (settings.access_log, settings.traces.endpoint) == (False, "http://127.0.0.1:4318/v1/traces")
    assert (settings.max_streams, settings.max_project_streams) == (50, 5)
    assert settings.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert (settings.max_connections, settings.max_address_connections) == (100, 10)
    assert settings.api.rate == Rate(20, 1)
    assert settings.cors_origins == ("https://a.example.com", "https://b.example.com:8443")
    assert settings.unsafe_timing is True
    assert settings.failpoint == "after_intent:2"
    assert list(settings.timing.model_dump().values()) == [1.5, 2.5, 13.5, 0.5, 4.5, 5.5]
    assert list(settings.retention.model_dump().values()) == [3, 4, 5, 0]


def test_an_empty_environment_gives_the_defaults() -> None:
    assert load({}) == Settings()


def test_the_file_is_read_and_the_environment_wins(tmp_path: Path) -> None:
    (tmp_path / "taskrelay.toml").write_text(
        'port = 9000\nhost = "::"\nroles = ["api"]\n[egress]\nports = "443,3000"\n'
        '[accounts.cloudsway]\napi_key = "from-file"\nrate = "2/s"\n',
        encoding="utf-8",
    )
    settings = load({"TASKRELAY_PORT": "9001", "TASKRELAY_ACCOUNTS__CLOUDSWAY__API_KEY": "from-env"})
    account = settings.accounts["cloudsway"]
    assert (settings.port, settings.host) == (9001, "::")
    assert (settings.roles, settings.egress.ports) == (frozenset({"api"}), frozenset({443, 3000}))
    assert account.api_key
    assert (account.api_key.get_secret_value(), account.rate) == ("from-env", Rate(2, 1))


def test_secrets_are_read_from_files_at_any_depth(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("\n".join(KEYS) + "\n", encoding="utf-8")
    (tmp_path / "api").write_text("from a file\n", encoding="utf-8")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "t.toml").write_text('[accounts.ulazai]\napi_key_file = "../api"\n', encoding="utf-8")
    settings = load({"TASKRELAY_SECRET_KEYS_FILE": str(tmp_path / "keys")}, tmp_path / "sub" / "t.toml")
    key = settings.accounts["ulazai"].api_key
    assert len(settings.secret_keys) == 2
    assert key
    assert key.get_secret_value() == "from a file"


def test_a_value_in_the_environment_replaces_a_file_named_in_the_toml(tmp_path: Path) -> None:
    (tmp_path / "taskrelay.toml").write_text('[accounts.ulazai]\napi_key_file = "/nowhere"\n', encoding="utf-8")
    key = load({"TASKRELAY_ACCOUNTS__ULAZAI__API_KEY": "k"}).accounts["ulazai"].api_key
    assert key
    assert key.get_secret_value() == "k"


def test_a_star_opens_every_port() -> None:
    assert load({"TASKRELAY_EGRESS__PORTS": "*"}).egress.ports == "*"


def test_an_empty_variable_is_an_unset_one_except_for_keys() -> None:
    assert load({"TASKRELAY_PUBLIC_URL": "", "TASKRELAY_EGRESS__ALLOW": " "}) == Settings()
    assert "TASKRELAY_SECRET_KEYS is empty" in refused({"TASKRELAY_SECRET_KEYS": ""})


def test_every_mistake_is_told_at_once_where_it_was_made_and_with_the_line_that_mends_it(tmp_path: Path) -> None:
    (tmp_path / "taskrelay.toml").write_text(
        'prot = 1\n[timing]\nsettle_seconds = "long"\n[accounts.x]\n[elsewhere]\n', encoding="utf-8"
    )
    told = refused(
        {
            "TASKRELAY_PORT": "80a",
            "TASKRELAY_ACCOUNTS__ULAZAI__RATE": "fast",
            "TASKRELAY_EGRESS__ALLOW": "10.0.0.0/8,localhost",
            "TASKRELAY_SECRET_KEYS": f"{KEYS[0]},short",
            "TASKRELAY_ACCOUNTS__ULAZAI__API_KEY_FILE": "/nowhere/key",
            "TASKRELAY_ACCOUNTS___X__ENABLED": "true",
        }
    )
    assert "TASKRELAY_PORT: input should be a valid integer" in told
    assert "TASKRELAY_PORT=8080" in told
    assert "TASKRELAY_ACCOUNTS__ULAZAI__RATE must be written as a count and a span" in told
    assert "TASKRELAY_ACCOUNTS__ULAZAI__RATE=5/s" in told
    assert "TASKRELAY_EGRESS__ALLOW (item 2) must be an address range" in told
    assert "TASKRELAY_SECRET_KEYS (item 2) is too short: 5 of at least 32 bytes" in told
    assert "TASKRELAY_ACCOUNTS__ULAZAI__API_KEY_FILE names a file that cannot be read: No such file" in told
    assert "taskrelay.toml: prot is no setting\n    the nearest is port" in told
    assert "taskrelay.toml: elsewhere is no setting" in told
    assert "taskrelay.toml: timing.settle_seconds: input should be a valid number" in told
    assert "accounts._x: an account's name" in told


def test_a_rule_between_settings_names_the_variable() -> None:
    told = refused({"TASKRELAY_TIMING__SETTLE_SECONDS": "5", "TASKRELAY_TIMING__LANE_TTL_SECONDS": "20"})
    assert (
        "TASKRELAY_TIMING__SETTLE_SECONDS is below its floor of 120\n    TASKRELAY_TIMING__SETTLE_SECONDS=120" in told
    )
    assert "TASKRELAY_TIMING__LANE_TTL_SECONDS is below its floor of 30" in told


def test_a_value_and_a_file_for_one_setting_contradict_each_other() -> None:
    told = refused({"TASKRELAY_SECRET_KEYS": KEYS[0], "TASKRELAY_SECRET_KEYS_FILE": "/nowhere"})
    assert "TASKRELAY_SECRET_KEYS and TASKRELAY_SECRET_KEYS_FILE set the same thing" in told


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "empty file"), (b"\xff\xfe", "not text"), (b"x" * 70000, "more than 65536 bytes")],
)
def test_a_secret_file_must_hold_a_short_text(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "key").write_bytes(content)
    assert says in refused({"TASKRELAY_ACCOUNTS__ULAZAI__API_KEY_FILE": str(tmp_path / "key")})


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"port = = 1\n", "not valid TOML near line 1"), (b"\xff", "not UTF-8"), (b"port = [", "not valid TOML")],
)
def test_a_broken_file_is_told_and_not_repeated(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "t.toml").write_bytes(content)
    assert says in refused({}, tmp_path / "t.toml")


def test_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    assert "absent.toml cannot be read: No such file" in refused({}, tmp_path / "absent.toml")


def test_what_is_wrong_in_a_secrets_file_is_mended_in_that_file(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("short")
    told = refused({"TASKRELAY_SECRET_KEYS_FILE": str(tmp_path / "keys")})
    assert f'echo "$(openssl rand -base64 32)" >{tmp_path}/keys' in told and "TASKRELAY_SECRET_KEYS=" not in told


def test_a_port_set_by_kubernetes_is_recognised() -> None:
    assert "enableServiceLinks: false" in refused({"TASKRELAY_PORT": "tcp://10.0.0.1:80"})


def test_no_value_is_ever_repeated(tmp_path: Path) -> None:
    wrong = {name: f"canary {number}\\" for number, name in enumerate(EVERY) if name != "TASKRELAY_HOST"}
    told = refused(wrong)
    assert told.count("\n") > 20
    assert "canary" not in told
    with pytest.raises(SettingsError) as caught:
        load(wrong)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKRELAY_PORT", "9999")
    assert load().port == 9999


def test_a_fail_point_needs_a_harness() -> None:
    assert "UNSAFE_TIMING" in refused({"TASKRELAY_FAILPOINT": "after_intent"})


def test_what_cannot_be_used_is_left_out_so_that_the_rest_is_judged_too() -> None:
    """A rule about several settings is silent while one of them has no value; a failing rule hides the next one."""
    environ = {
        "TASKRELAY_PORT": "x",
        "TASKRELAY_SECRET_KEYS": f"{KEYS[0]},{KEYS[0]}",
        "TASKRELAY_FAILPOINT": "after_intent",
        "TASKRELAY_TIMING__LANE_TTL_SECONDS": "40",
        "TASKRELAY_ACCOUNTS__ULAZAI__RATE": "fast",
        "TASKRELAY_ACCOUNTS__ULAZAI__API_KEY": "k",
        "TASKRELAY_HOST": "0.0.0.0",
    }
    found = gather(environ)
    told = "\n".join(problem.text for problem in found.problems)
    for wrong in ("PORT:", "names a key twice", "FAILPOINT kills", "LANE_TTL_SECONDS is less", "RATE must be"):
        assert wrong in told
    assert len(found.problems) == 5
    assert found.left_out == {"port", "secret_keys", "failpoint", "unsafe_timing", "timing", "accounts"}
    assert found.settings is not None and found.settings.host == "0.0.0.0"
    assert found.settings.accounts["ulazai"].rate is None and found.settings.accounts["ulazai"].api_key is not None
