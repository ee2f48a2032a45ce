from __future__ import annotations

import os
import pty
import resource
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from service.cli import init
from service.cli.demo.stage import clean_environment, our_command
from service.cli.doctor import command
from service.cli.terminal import USAGE, Stop
from service.settings import gather, load
from tests.service.cli.processes import SECONDS

KEY = "a-key-that-nobody-may-see"
OWN = "9f8c1e5b7a3d2460" * 2
TOML, KEYS = Path("taskrelay.toml"), Path("taskrelay.secret")

app = typer.Typer()
app.command("init")(init.init)
app.command("doctor")(command.doctor)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, **said: str) -> tuple[int, str]:
    environ = {f"TASKRELAY_{name}": value for name, value in said.items()}
    ended = CliRunner().invoke(app, arguments, env=environ)
    if isinstance(ended.exception, Stop):
        return ended.exception.code, ended.exception.text
    assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exception
    return ended.exit_code, ended.output


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_what_it_writes_can_be_loaded_and_only_its_owner_reads_it() -> None:
    code, text = run("init", "-p", "cloudsway", "-p", "ulazai", "--public-url", "https://relay.example.org")
    assert code == 0 and "wrote taskrelay.toml (0600) and taskrelay.secret (0600)" in text
    assert mode(TOML) == mode(KEYS) == 0o600 and sorted(os.listdir()) == [str(KEYS), str(TOML)]
    found = gather({})
    assert found.problems == () and found.settings is not None
    assert list(found.settings.accounts) == ["cloudsway", "ulazai"]
    assert found.settings.public_url == "https://relay.example.org"
    assert [key.get_secret_value().decode() for key in found.settings.secret_keys] == [KEYS.read_text().strip()]
    assert KEYS.read_text().strip() not in text


def test_doctor_then_wants_only_what_the_operator_knows() -> None:
    code, text = run("init", "-p", "cloudsway")
    _, judged = run("doctor", "--offline")
    wanted = ["accounts.cloudsway has no key", "accounts.cloudsway has no endpoint path"]
    assert code == 0 and [line for line in wanted if line not in text] == []
    assert [line for line in judged.splitlines() if "✗ settings" in line and not any(w in line for w in wanted)] == []
    known = {"ACCOUNTS__CLOUDSWAY__API_KEY": KEY, "ACCOUNTS__CLOUDSWAY__ENDPOINT_PATH": "abc123"}
    assert run("doctor", "--offline", **known)[0] == 0


def test_a_key_in_the_environment_stays_there() -> None:
    code, text = run("init", "-p", "ulazai", ACCOUNTS__ULAZAI__API_KEY=KEY)
    assert code == 0 and "Missing" not in text
    assert KEY not in TOML.read_text() + text


def test_a_contract_without_documents_is_off_until_the_operator_says_so() -> None:
    run("init", "-p", "apiinone")
    assert not load({}).accounts["apiinone"].enabled


def test_settings_that_are_there_are_replaced_only_by_force_and_keys_never() -> None:
    TOML.write_text("port = 9999\n")
    assert run("init", "-p", "ulazai") == (
        1,
        "init: taskrelay.toml is there and stays as it is. To check it: taskrelay doctor. To replace it: --force",
    )
    assert TOML.read_text() == "port = 9999\n" and not KEYS.exists()
    KEYS.write_text(OWN)
    code, text = run("init", "-p", "ulazai", "--force")
    assert code == 0 and "taskrelay.secret was there and is kept" in text
    assert "ulazai" in TOML.read_text() and mode(TOML) == 0o600 and KEYS.read_text() == OWN


def test_what_a_start_would_refuse_is_not_written() -> None:
    code, text = run("init", "-p", "ulazai", "--public-url", "relay")
    assert code == 1 and text.startswith("init: taskrelay.toml: public_url ") and "Nothing was written" in text
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "name a provider: --provider cloudsway"),
        (("-p", "cloudswai"), "there is no provider 'cloudswai'. Did you mean cloudsway?"),
        (("-p", "zzz"), "There are cloudsway, "),
    ],
)
def test_without_a_provider_it_knows_it_says_which_there_are(arguments: Sequence[str], says: str) -> None:
    code, text = run("init", *arguments)
    assert code == USAGE and says in text and os.listdir() == []


def test_any_text_survives_in_the_file() -> None:
    odd = 'a"b\\c\x7fé\t#'
    text = init.settings_text([init.Account("cloudsway", odd, None)], None)
    assert tomllib.loads(text)["accounts"]["cloudsway"]["api_key"] == odd


# What is its input becomes the terminal of its session: that is where a hidden question is asked. Not by a fork of ours, which
# has threads: Python 3.12 and later warn of that.
ON_ITS_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


def test_a_person_is_asked_and_the_key_is_not_shown(here: Path) -> None:
    terminal, theirs = pty.openpty()
    command_line = [sys.executable, "-c", ON_ITS_TERMINAL, *our_command("init")]
    asking = subprocess.Popen(
        command_line, env=clean_environment(), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    seen = b""
    answers = [
        (b"Which providers", b"cloudsway"),
        (b"API key of", KEY.encode()),
        (b"Endpoint path", b"abc"),
        (b"Our origin", b""),
    ]
    for question, answer in answers:
        while question not in seen or not seen.endswith(b": " if question != b"Which providers" else b"? "):
            seen += os.read(terminal, 4096)
        os.write(terminal, answer + b"\n")
    while b"taskrelay serve" not in seen:
        seen += os.read(terminal, 4096)
    assert asking.wait(SECONDS) == 0
    os.close(terminal)
    assert KEY.encode() not in seen and b"Missing" not in seen
    account = load({}).accounts["cloudsway"]
    assert account.api_key is not None and account.api_key.get_secret_value() == KEY
    assert account.endpoint_path == "abc" and load({}).public_url is None


def test_a_full_disk_leaves_no_half_of_a_file_that_stops_the_next_try() -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, before[1]))  # as a full disk: a file takes so many bytes and no more
    try:
        code, text = run("init", "-p", "ulazai")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (code, text) == (1, "init: cannot write here: file too large")
    assert os.listdir() == []
    assert run("init", "-p", "ulazai")[0] == 0
