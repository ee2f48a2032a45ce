"""The scripts are POSIX, overwrite nothing, and say what they need."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.files import DEPLOY, services

SCRIPTS = sorted(path.name for path in DEPLOY.glob("*.sh"))


def sh(script: Path, *arguments: str, given: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(
        ["sh", str(script), *arguments], input=given, env=kept, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    return Path(shutil.copy(DEPLOY / "secrets.sh", tmp_path))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_understood_by_the_plainest_shell(name: str) -> None:
    shell = shutil.which("dash") or "sh"
    assert subprocess.run([shell, "-n", str(DEPLOY / name)], capture_output=True).stderr == b""
    text = re.sub(r"(?m)^\s*#.*", "", (DEPLOY / name).read_text(encoding="utf-8"))
    assert not re.search(r"\[\[|\bfunction \w|\blocal |<\(|\$'|&>|\becho -", text)


def test_secrets_are_made_once_and_closed_to_others(secrets: Path) -> None:
    assert sh(secrets).returncode == 0
    folder = secrets.parent / "secrets"
    made = {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert set(made) == {"secret_keys", "database_url", "postgres_password", "taskrelay_password"}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert len(made["secret_keys"]) == 96 and len(set(made.values())) == 4
    host = re.fullmatch(rf"postgresql://taskrelay:{made['taskrelay_password']}@(\w+)/taskrelay", made["database_url"])
    assert host is not None and host[1] in services("compose.scale.yaml")
    again = sh(secrets)
    assert (again.returncode, again.stderr.count("kept")) == (0, 4)
    assert {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()} == made


def test_a_provider_s_key_is_taken_and_never_shown(secrets: Path) -> None:
    ended = sh(secrets, "cloudsway_api_key", given="k-93847 \n")
    assert (secrets.parent / "secrets/taskrelay/cloudsway_api_key").read_text() == "k-93847 \n"
    assert "k-93847" not in ended.stdout + ended.stderr
    assert sh(secrets, "cloudsway_api_key", given="another\n").returncode == 0
    assert (secrets.parent / "secrets/taskrelay/cloudsway_api_key").read_text() == "k-93847 \n"


@pytest.mark.parametrize(
    ("name", "given", "code"), [("../x", "k\n", 2), ("a b", "k\n", 2), ("empty", "\n", 1), ("nothing", "", 1)]
)
def test_what_is_no_name_or_no_secret_makes_nothing(secrets: Path, name: str, given: str, code: int) -> None:
    assert sh(secrets, name, given=given).returncode == code
    assert [path for path in secrets.parent.rglob("*") if path.is_file() and path != secrets] == []


@pytest.mark.parametrize("arguments", [(), ("--buy",), ("relay.example.org",), ("https://relay.example.org", "--sell")])
def test_smoke_called_wrongly_says_how(arguments: tuple[str, ...]) -> None:
    ended = sh(DEPLOY / "smoke.sh", *arguments, TASKRELAY_KEY="k")
    assert (ended.returncode, "say where" in ended.stderr) == (2, True)


def test_smoke_without_a_key_says_how_to_make_one() -> None:
    ended = sh(DEPLOY / "smoke.sh", "http://127.0.0.1:1")
    assert (ended.returncode, "taskrelay keys create" in ended.stderr) == (2, True)


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_smoke_where_nobody_answers_has_a_code_of_its_own() -> None:
    ended = sh(DEPLOY / "smoke.sh", "http://127.0.0.1:1", TASKRELAY_KEY="secret-key")
    assert (ended.returncode, ended.stdout.startswith("FAIL  GET /livez")) == (3, True)
    assert "secret-key" not in ended.stdout + ended.stderr
