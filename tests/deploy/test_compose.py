"""The compose files hold what an operator relies on: pinned, healthy before used, closed by default, no secret in them."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest

from service.cli.serve import END_SECONDS
from service.settings import gather, shape
from tests.deploy.files import COMPOSE, DEPLOY, PINNED, compose, services
from tests.test_readme import find

EVERY = [(file, name) for file in COMPOSE for name in services(file)]
SCALE = "compose.scale.yaml"

# The keys of a service that these files use, after the Compose Specification: a typing error is not among them.
KNOWN = {
    "aliases", "build", "cap_add", "cap_drop", "command", "depends_on", "deploy", "env_file", "environment", "healthcheck", "image",
    "logging", "networks", "ports", "profiles", "read_only", "restart", "secrets", "security_opt", "shm_size", "stop_grace_period",
    "tmpfs", "ulimits", "volumes",
}  # fmt: skip


def ours(one: Any) -> bool:
    return bool(one["image"].startswith("taskrelay:"))


@pytest.mark.parametrize(("file", "name"), EVERY)
def test_a_service_is_pinned_known_and_bounded(file: str, name: str) -> None:
    one = services(file)[name]
    assert set(one) - KNOWN == set()
    assert PINNED.fullmatch(one["image"])
    limits = one["deploy"]["resources"]["limits"]
    assert {"cpus", "memory", "pids"} <= set(limits)
    assert one["logging"]["options"].keys() == {"max-size", "max-file"}
    assert "no-new-privileges:true" in one["security_opt"]
    assert not {"privileged", "pid", "network_mode", "devices"} & set(one)


@pytest.mark.parametrize(("file", "name"), EVERY)
def test_a_service_is_asked_how_it_is_and_comes_back(file: str, name: str) -> None:
    one = services(file)[name]
    if one["healthcheck"].get("disable"):
        assert (name, one["restart"]) == ("migrate", "no")  # it ends by itself
        return
    assert one["healthcheck"]["test"][0] == "CMD"  # no shell in between
    assert {"interval", "timeout", "start_period", "retries"} <= set(one["healthcheck"])
    assert one["restart"] == "unless-stopped"


@pytest.mark.parametrize(("file", "name"), EVERY)
def test_who_serves_is_given_the_time_to_end_and_nothing_to_write_to(file: str, name: str) -> None:
    one = services(file)[name]
    if not ours(one):
        return
    if one["command"][0] != "sandbox":
        assert int(one["stop_grace_period"].removesuffix("s")) > END_SECONDS
    assert (one["read_only"], one["cap_drop"]) == (True, ["ALL"])
    found, arguments = find(one["command"])
    found.make_context("taskrelay", arguments)
    if one["healthcheck"].get("test", [""])[1:2] == ["taskrelay"]:
        found, arguments = find(one["healthcheck"]["test"][2:])
        found.make_context("taskrelay", arguments)


@pytest.mark.parametrize("file", COMPOSE)
def test_no_secret_stands_in_the_environment(file: str) -> None:
    given = {name: value for one in services(file).values() for name, value in (one.get("environment") or {}).items()}
    secret = re.compile("PASSWORD|SECRET|KEY|TOKEN|DATABASE_URL")
    assert {name for name in given if secret.search(name) and not name.endswith("_FILE")} == set()
    assert all(str(value).startswith("/run/secrets/") for name, value in given.items() if name.endswith("_FILE"))
    assert all(shape.path_of(name) for name in given if name.startswith("TASKRELAY_"))


@pytest.mark.parametrize("file", COMPOSE)
def test_what_is_mounted_is_there_or_made_by_the_script(file: str) -> None:
    whole = compose(file)
    named = [one for service in services(file).values() for one in service.get("volumes", [])]
    for volume in named:
        source = volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
        if source.startswith("./secrets"):
            assert volume["read_only"] and not volume["bind"]["create_host_path"]
        elif source.startswith("./"):
            assert (DEPLOY / source).is_file() and volume.endswith(":ro")
        else:
            assert source in whole["volumes"]
    script = (DEPLOY / "secrets.sh").read_text(encoding="utf-8")
    assert all(f"keep {one['file'].removeprefix('./')}" in script for one in whole.get("secrets", {}).values())


@pytest.mark.parametrize("file", COMPOSE)
def test_nothing_but_the_proxy_is_open_to_the_outside(file: str) -> None:
    open_to_all = {
        name
        for name, one in services(file).items()
        for port in one.get("ports", [])
        if not port.startswith("127.0.0.1:")
    }
    assert open_to_all == ({"proxy"} if file == SCALE else set())


def test_one_process_serves_the_file_of_the_small_one() -> None:
    small = services("compose.yaml")["taskrelay"]
    assert "replicas" not in small["deploy"]
    assert "data:/data" in small["volumes"]


def test_the_large_one_migrates_first_and_has_two_of_each() -> None:
    scale = services(SCALE)
    assert scale["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    serving = {
        name: one for name, one in scale.items() if one["command" if "command" in one else "image"][:1] == ["serve"]
    }
    assert {one["depends_on"]["migrate"]["condition"] for one in serving.values()} == {"service_completed_successfully"}
    roles = {name: one["command"][-1] for name, one in serving.items()}
    assert roles == {"door-1": "api", "door-2": "api", "worker": "work"}
    assert serving["worker"]["deploy"]["replicas"] == 2
    assert "resources" in serving["worker"]["deploy"]
    doors = scale["proxy"]["environment"]["RELAY_DOORS"].split()
    assert {door.split(":")[0] for door in doors} == set(scale["proxy"]["depends_on"]) == {"door-1", "door-2"}
    assert f"{{$RELAY_DOORS:{' '.join(doors)}}}" in (DEPLOY / "Caddyfile").read_text(encoding="utf-8")


def test_postgres_keeps_what_it_says_it_has() -> None:
    command = " ".join(services(SCALE)["postgres"]["command"])
    assert not re.search(r"\b(fsync|synchronous_commit|full_page_writes)\b", command)
    [most] = re.findall(r"max_connections=(\d+)", command)
    assert int(most) >= 4 * 8 + 20  # of four replicas, and room for a person


def test_the_settings_to_try_it_with_are_sound() -> None:
    lines = (DEPLOY / "try.env").read_text(encoding="utf-8").splitlines()
    given = dict(shlex.split(line)[0].split("=", 1) for line in lines if line[:1] != "#")
    found = gather(given)
    assert found.problems == () and found.settings is not None
    port = services("compose.yaml")["sandbox"]["command"][-1]
    assert given["TASKRELAY_ACCOUNTS__CLOUDSWAY__BASE_URL"] == f"http://sandbox:{port}"
    name = re.fullmatch(r"http://(\w+):8080", given["TASKRELAY_PUBLIC_URL"])
    assert name is not None
    assert services("compose.yaml")["taskrelay"]["networks"]["default"]["aliases"] == [name[1]]
    assert services(SCALE)["proxy"]["networks"]["inside"]["aliases"] == [name[1]]


@pytest.mark.parametrize("file", COMPOSE)
def test_the_lines_at_its_top_can_be_typed(file: str) -> None:
    head = [line[1:].strip() for line in (DEPLOY / file).read_text(encoding="utf-8").split("\nname:")[0].splitlines()]
    text = "\n".join(head)
    assert all((DEPLOY.parent / path).exists() for path in re.findall(r"(deploy/[\w.-]+\.(?:sh|yaml|example))", text))
    typed = [line.split(" exec ")[1].split(" ", 1) for line in head if " exec " in line]
    for name, command in typed:
        assert name in services(file)
        found, arguments = find(shlex.split(command)[1:])
        found.make_context("taskrelay", arguments)
    assert typed
