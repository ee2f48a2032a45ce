"""The whole of it: everything at once, each alone, nothing shown that is secret, nothing made that was not there."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from service.core.care import Care
from service.core.keys import Keyring
from storage import files
from tests.service.cli.conftest import Relay
from tests.service.cli.doctor.scene import KEY, OURS, Answers, Place, place_at, somebody

ACCOUNT = "TASKRELAY_ACCOUNTS__"


def test_all_well_is_exit_0_and_shows_what_is_in_force_without_secrets(place: Place, provider: Answers) -> None:
    place.start()
    code, page = place.page()
    assert code == 0, page
    assert "All well: taskrelay serve" in page and f"account cloudsway: {provider.url} answers in " in page
    assert "database: opens, schema is current, synchronous=FULL" in page and "database: 1 API key" in page
    assert "no endpoint takes account.*" in page and "taskrelay endpoints create URL --event 'account.*'" in page
    assert KEY not in page and OURS not in page
    assert provider.got == [("HEAD", "/", 0)]  # it was asked for nothing


def test_against_a_serving_taskrelay_a_push_is_seen_to_get_through(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = place_at(relay.folder, monkeypatch, relay.settings).doctor()
    assert (told.code, told.wrong) == (0, [])
    fine = {about: text for about, text, _ in told.of("fine")}
    assert f"a push to {relay.url} gets through to us whole: 65,536 bytes" in fine["callbacks"]
    assert any("served by process" in text for _, text, _ in told.of("fine"))


def test_it_makes_nothing_that_was_not_there(place: Place, tmp_path: Path) -> None:
    told = place.doctor()
    assert told.code == 0 and "is not there yet; serve makes it" in told.text
    assert list(tmp_path.iterdir()) == []


def test_offline_opens_nothing(place: Place, provider: Answers) -> None:
    assert place.doctor("--offline").wrong == [] and provider.got == []


# Every mistake: what is set or planted, and how the line that mends it begins.
Plant = Callable[[Place], None]


def said(**settings: str) -> Plant:
    return lambda place: place.settings.update({f"TASKRELAY_{name}": value for name, value in settings.items()})


def unsaid(name: str) -> Plant:
    def plant(place: Place) -> None:
        del place.settings[f"TASKRELAY_{name}"]

    return plant


def sealed_elsewhere(place: Place) -> None:
    lost = Keyring([b"another-key-that-was-lost-" + b"0123456789" * 3]).seal(
        "s", purpose="project-secret", nonce=b"n" * 12
    )
    place.plant("UPDATE projects SET secret = ?", lost)


def paused(place: Place) -> None:
    care = Care(paused_at=1).dump()
    place.plant("INSERT INTO lanes (kind, key, epoch, until, care) VALUES ('account', 'cloudsway', 0, 0, ?)", care)


def readable_file(place: Place) -> None:
    (place.folder / "key.txt").write_text(KEY)
    os.chmod(place.folder / "key.txt", 0o644)
    place.settings[ACCOUNT + "SPARE__API_KEY_FILE"] = str(place.folder / "key.txt")
    place.settings[ACCOUNT + "SPARE__PROVIDER"] = "ulazai"
    place.settings[ACCOUNT + "SPARE__BASE_URL"] = place.settings[ACCOUNT + "CLOUDSWAY__BASE_URL"]


WRONG: dict[str, tuple[Plant, str]] = {
    "a misspelt setting": (said(PUBLIK_URL="https://relay.example.com"), "rename it to TASKRELAY_PUBLIC_URL"),
    "a wrong type": (said(PORT="eighty"), "TASKRELAY_PORT="),
    "a second wrong type": (said(LOG_LEVEL="loud"), "TASKRELAY_LOG_LEVEL="),
    "no key": (unsaid("ACCOUNTS__CLOUDSWAY__API_KEY"), f"{ACCOUNT}CLOUDSWAY__API_KEY="),
    "no endpoint path": (unsaid("ACCOUNTS__CLOUDSWAY__ENDPOINT_PATH"), f"{ACCOUNT}CLOUDSWAY__ENDPOINT_PATH="),
    "an unknown provider": (
        said(ACCOUNTS__MINE__PROVIDER="ulazi", ACCOUNTS__MINE__API_KEY="k"),
        f"{ACCOUNT}MINE__PROVIDER=ulazai",
    ),
    "plain http to the world": (
        said(
            ACCOUNTS__PLAIN__BASE_URL="http://203.0.113.9",
            ACCOUNTS__PLAIN__PROVIDER="ulazai",
            ACCOUNTS__PLAIN__API_KEY="k",
        ),
        "TASKRELAY_EGRESS__ALLOW=127.0.0.0/8,203.0.113.9/32",
    ),
    "an internal address": (
        said(
            ACCOUNTS__META__BASE_URL="https://169.254.169.254",
            ACCOUNTS__META__PROVIDER="ulazai",
            ACCOUNTS__META__API_KEY="k",
        ),
        f"{ACCOUNT}META__BASE_URL=https://…",
    ),
    "a public address with a path": (said(PUBLIC_URL="https://relay.example.com/relay"), "TASKRELAY_PUBLIC_URL="),
    "timing that cannot work": (said(TIMING__LANE_TTL_SECONDS="45"), "TASKRELAY_TIMING__LANE_TTL_SECONDS="),
    "a dead provider": (
        said(
            ACCOUNTS__DEAD__BASE_URL="http://127.0.0.1:1",
            ACCOUNTS__DEAD__PROVIDER="ulazai",
            ACCOUNTS__DEAD__API_KEY="k",
        ),
        "curl -v http://127.0.0.1:1/",
    ),
    "a lost key": (sealed_elsewhere, "TASKRELAY_SECRET_KEYS=<yours>,<the one of id "),
    "a disabled endpoint": (
        lambda place: place.plant_endpoint("ep_off", status="disabled", disabled_reason="five days of failures"),
        "taskrelay endpoints resume ep_off",
    ),
    "a lease that is over": (
        lambda place: place.plant_endpoint("ep_old", expires_at=1_000_000),
        "taskrelay endpoints update ep_old --expires-at",
    ),
    "a paused account": (paused, "taskrelay accounts resume cloudsway"),
}
NOTES: dict[str, tuple[Plant, str]] = {
    "an account that is off": (
        said(ACCOUNTS__APIINONE__API_KEY="k"),
        f"{ACCOUNT}APIINONE__ENABLED=true",
    ),
    "trust without a secret": (said(ACCOUNTS__CLOUDSWAY__CALLBACKS="trust"), f"{ACCOUNT}CLOUDSWAY__CALLBACKS=verify"),
    "retention off": (said(RETENTION__RAW_DAYS="0"), "TASKRELAY_RETENTION__RAW_DAYS=30"),
    "the whole internet allowed": (said(EGRESS__ALLOW="127.0.0.0/8,0.0.0.0/0"), "TASKRELAY_EGRESS__ALLOW=127.0.0.0/8 "),
    "a secret everybody may read": (readable_file, "chmod 600 "),
    "a failing endpoint": (
        lambda place: place.plant_endpoint("ep_ill", health='{"since":1000000,"windows":1,"window_at":1}'),
        "taskrelay deliveries list --endpoint ep_ill",
    ),
    "pushes nobody knows": (
        lambda place: place.plant("INSERT INTO callbacks VALUES ('cbk_1', 'cloudsway', 'sub_gone', x'00', x'7b7d', 1)"),
        "taskrelay db orphans",
    ),
    "no API key": (lambda place: place.plant("DELETE FROM api_keys"), "taskrelay keys create "),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WRONG)
def test_each_mistake_is_found_alone_with_the_line_that_mends_it(name: str, place: Place) -> None:
    plant, fix = WRONG[name]
    place.start()
    plant(place)
    told = place.doctor()
    assert told.code == 1 and len(told.wrong) == 1, told.wrong
    assert told.wrong[0][2].startswith(fix)
    assert KEY not in told.text and OURS not in told.text


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTES)
def test_what_is_only_to_be_known_has_its_line_and_is_no_failure(name: str, place: Place) -> None:
    plant, fix = NOTES[name]
    place.start()
    before = {line for _, _, line in place.doctor().of("note")}
    plant(place)
    told = place.doctor()
    assert told.code == 0, told.wrong
    new = [line for _, _, line in told.of("note") if line not in before]
    assert len(new) == 1 and new[0].startswith(fix), new


def test_all_mistakes_planted_together_are_told_in_one_run(place: Place) -> None:
    place.start()
    for plant, _ in (*WRONG.values(), *(one for name, one in NOTES.items() if name != "the whole internet allowed")):
        plant(place)
    told = place.doctor()
    assert told.code == 1
    expected = [fix for _, fix in WRONG.values()]
    fixes = [fix for _, _, fix in told.wrong]
    assert [fix for fix in expected if sum(line.startswith(fix) for line in fixes) != 1] == []
    assert len(fixes) == len(expected) == 15, fixes
    noted = [fix for _, _, fix in told.of("note")]
    wanted = [fix for name, (_, fix) in NOTES.items() if name != "the whole internet allowed"]
    assert [fix for fix in wanted if sum(line.startswith(fix) for line in noted) != 1] == []


def test_keys_that_cannot_be_used_hide_nothing_else_and_make_no_new_one(place: Place, tmp_path: Path) -> None:
    place.start()
    place.settings |= {"TASKRELAY_SECRET_KEYS": f"{OURS},{OURS}", "TASKRELAY_PORT": "x"}
    told = place.doctor()
    assert [line.partition("=")[0] for _, _, line in told.wrong] == ["TASKRELAY_PORT", "TASKRELAY_SECRET_KEYS"]
    place.settings["TASKRELAY_SECRET_KEYS"] = "short"
    assert len(place.doctor().wrong) == 2
    assert not (tmp_path / "taskrelay.secret").exists()


def test_a_lost_key_file_is_noticed_and_not_made_anew_and_an_open_one_is_told(place: Place, tmp_path: Path) -> None:
    del place.settings["TASKRELAY_SECRET_KEYS"]
    place.start()
    secret = tmp_path / "taskrelay.secret"
    secret.chmod(0o644)
    assert [fix for _, _, fix in place.doctor().wrong] == [f"chmod 600 {secret}"]
    secret.unlink()
    told = place.doctor()
    assert [fix for _, _, fix in told.wrong] == [f"bring {secret} back from your backup"]
    assert not secret.exists()


@pytest.mark.parametrize(("spoilt", "text", "fix"), [
    ("text", "is not an SQLite database", "TASKRELAY_DATABASE_URL="),
    ("damaged", "malformed", "taskrelay db restore COPY"),
    ("newer", "install the newer release", "pip install --upgrade taskrelay"),
    ("folder", "the folder does not exist", "mkdir -p "),
    ("network", "network file system (nfs4)", "TASKRELAY_DATABASE_URL="),
    ("closed", "may be read by others", "chmod 600 "),
])  # fmt: skip
def test_a_database_that_cannot_be_used_is_told(
    spoilt: str, text: str, fix: str, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if spoilt == "text":
        (tmp_path / "taskrelay.db").write_text("dear database, how are you? " * 10)
    elif spoilt == "folder":
        place.settings["TASKRELAY_DATABASE_URL"] = f"sqlite:///{tmp_path}/none/t.db"
    elif spoilt == "network":
        monkeypatch.setattr(files, "MOUNTS", tmp_path / "mountinfo")
        files.MOUNTS.write_text(f"2 1 0:2 / {tmp_path} rw - nfs4 x rw\n")
    else:
        place.start()
        if spoilt == "damaged":
            whole = (tmp_path / "taskrelay.db").read_bytes()
            (tmp_path / "taskrelay.db").write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))
        elif spoilt == "newer":
            place.plant("INSERT INTO migrations (number, name, oldest, applied_at) VALUES (9999, 'later', 9999, 0)")
        else:
            (tmp_path / "taskrelay.db").chmod(0o644)
    told = place.doctor()
    assert any(text in said and line.startswith(fix) for _, said, line in [*told.wrong, *told.of("note")]), told.text
    assert told.code == (0 if spoilt == "closed" else 1)


def test_a_clock_that_is_off_is_told_by_what_the_provider_says_the_time_is(place: Place, provider: Answers) -> None:
    provider.headers = {"date": "Sat, 01 Jan 2000 00:00:00 GMT"}
    told = place.doctor()
    assert [(about, fix) for about, _, fix in told.wrong] == [("clock", "timedatectl set-ntp true")]
    assert " s ahead of http://127.0.0.1" in told.wrong[0][1]


def test_the_database_is_left_as_it_was(place: Place) -> None:
    place.start()
    with closing(sqlite3.connect(place.folder / "taskrelay.db")) as raw:
        before = list(raw.iterdump())
    with somebody(404) as stranger:
        place.settings["TASKRELAY_PUBLIC_URL"] = stranger.url
        place.doctor()
        assert [(method, size) for method, _, size in stranger.got] == [("POST", 65_536)]
    with closing(sqlite3.connect(place.folder / "taskrelay.db")) as raw:
        assert list(raw.iterdump()) == before
