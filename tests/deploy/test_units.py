"""The units give the service what it needs, and close to it what it does not."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from service.cli.serve import END_SECONDS
from service.settings import shape
from tests.deploy.files import DEPLOY, unit
from tests.test_readme import find

UNITS = ("taskrelay.service", "taskrelay-migrate.service")
CREDENTIALS = "taskrelay-credentials.conf"


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_runs_a_command_of_ours_as_nobody_in_particular(name: str) -> None:
    given = dict(unit(name))
    program, *words = given["ExecStart"].split()
    assert program == "/opt/taskrelay/.venv/bin/taskrelay"
    found, arguments = find(words)
    found.make_context("taskrelay", arguments)
    assert (given["User"], given["NoNewPrivileges"], given["ProtectSystem"]) == ("taskrelay", "yes", "strict")
    assert given["CapabilityBoundingSet"] == ""
    assert given["EnvironmentFile"] == "/etc/taskrelay/service.env"
    assert given["WorkingDirectory"] == f"/var/lib/{given['StateDirectory']}"  # the one folder it may write to


def test_the_service_is_given_the_time_it_needs_and_comes_back() -> None:
    given = dict(unit("taskrelay.service"))
    assert int(given["TimeoutStopSec"]) > END_SECONDS
    assert (given["Restart"], given["StartLimitIntervalSec"]) == ("always", "0")
    assert int(given["LimitNOFILE"]) >= 65536


def test_credentials_are_read_where_systemd_puts_them() -> None:
    lines = unit(CREDENTIALS)
    loaded = {value.split(":")[0] for key, value in lines if key == "LoadCredential"}
    told = dict(value.split("=", 1) for key, value in lines if key == "Environment")
    assert set(told.values()) == {f"%d/{name}" for name in loaded}
    assert all((meant := shape.path_of(name)) and meant[1] for name in told)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_takes_them_and_finds_little_to_attack(tmp_path: Path) -> None:
    for name in UNITS:
        text = (DEPLOY / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace("/opt/taskrelay/.venv/bin/taskrelay", "/bin/true"), encoding="utf-8")
    (tmp_path / "taskrelay.service.d").mkdir()
    shutil.copy(DEPLOY / CREDENTIALS, tmp_path / "taskrelay.service.d/credentials.conf")
    for name in UNITS:
        ended = analyze("verify", "--man=no", str(tmp_path / name))
        assert [line for line in ended.stderr.splitlines() if str(tmp_path) in line or name in line] == []
    told = analyze("security", "--offline=true", "--no-pager", str(tmp_path / "taskrelay.service")).stdout
    [exposure] = re.findall(r"Overall exposure level for taskrelay.service: ([\d.]+)", told)
    assert float(exposure) <= 1.5, told


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60)
