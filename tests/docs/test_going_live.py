"""What docs/going-live.md puts into files is understood by who reads them; the proxies are tried in test_proxies.py."""

from __future__ import annotations

import re
import secrets
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from service.bootstrap.accounts import provider_names
from service.settings import load, problems
from tests.docs import pages
from tests.test_readme import find

PAGE = "docs/going-live.md"


def environment(folder: Path) -> dict[str, str]:
    """The variables of the page; each file it names is there, with a text that could be in it."""
    told = dict(
        shlex.split(line)[0].split("=", 1)
        for line in pages.program(PAGE, "/etc/taskrelay/service.env").splitlines()[1:]
    )
    for name, value in told.items():
        if name.endswith("_FILE"):
            told[name] = str(folder / Path(value).name)
            (folder / Path(value).name).write_text(secrets.token_urlsafe(48) + "\n", encoding="ascii")
    return told


def test_the_settings_are_taken_as_they_stand(tmp_path: Path) -> None:
    told = environment(tmp_path)
    settings = load(told)
    assert [one.text for one in problems(settings, told, providers=provider_names())] == []
    assert settings.public_url == "https://relay.example.org"
    assert str(settings.accounts["cloudsway"].unit_price)


@pytest.mark.parametrize("page", [PAGE, "docs/upgrading.md", "docs/runbook.md"])
def test_every_command_can_be_run(page: str) -> None:
    lines = [line for block in pages.blocks(page, "sh") for line in block.splitlines() if line.startswith("relay ")]
    for line in lines:
        command, arguments = find(shlex.split(line, comments=True)[1:])
        command.make_context("taskrelay", arguments)
    assert len(lines) >= 2


def test_nginx_lets_through_what_is_public_and_as_much_as_we_take() -> None:
    conf = pages.program(PAGE, "/etc/nginx/conf.d/taskrelay.conf")
    places = dict(re.findall(r"location (?:= )?(/\S*) \{(.*?)\n    \}", conf, re.DOTALL))
    assert set(places) == {"/callbacks/", "/o/", "/docs/", "/v1/", "/v1/uploads", "/v1/events/stream", "/"}
    sizes = {path: int(size) * 2**20 for path, body in places.items() for size in re.findall(r"_size (\d+)m", body)}
    assert sizes["/callbacks/"] > 256 * 2**10 and sizes["/v1/"] > 2**20 and sizes["/v1/uploads"] > 10 * 2**20
    assert all("access_log off" in places[path] for path in ("/callbacks/", "/o/"))
    assert "proxy_buffering off" in places["/v1/events/stream"]
    assert all(int(seconds) > 60 for seconds in re.findall(r"proxy_read_timeout (\d+)s", conf))


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
@pytest.mark.parametrize("unit", ["taskrelay-backup.service", "taskrelay-backup.timer"])
def test_systemd_takes_its_units(tmp_path: Path, unit: str) -> None:
    for name in ("taskrelay-backup.service", "taskrelay-backup.timer"):
        text = pages.program(PAGE, f"/etc/systemd/system/{name}")
        (tmp_path / name).write_text(re.sub(r"/opt/\S*/taskrelay ", "/bin/true ", text), encoding="utf-8")
    ended = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit)], capture_output=True, text=True, timeout=60
    )
    said = [line for line in ended.stderr.splitlines() if unit in line]
    assert said == [], ended.stderr
