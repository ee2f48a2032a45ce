"""The image: pinned, without root, without what builds it. No engine runs here, so its steps are run without one."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from service import __version__
from service.cli.client import HERE
from service.cli.demo.stage import clean_environment, free_port
from tests.deploy.files import COMPOSE, DEPLOY, PINNED, PROJECT, ROOT, Instruction, dockerfile, services
from tests.service.cli.processes import Running
from tests.test_packaging import normal
from tests.test_readme import find

LAST = max(one.stage for one in dockerfile())


def said(name: str, stage: int = LAST) -> list[str]:
    return [one.text for one in dockerfile() if one.name == name and one.stage == stage]


def test_every_stage_is_of_a_pinned_release_of_one_base() -> None:
    [base] = [one.text.removeprefix("PYTHON=") for one in dockerfile() if one.name == "ARG"]
    assert PINNED.fullmatch(base)
    assert [one.text.split()[0] for one in dockerfile() if one.name == "FROM"] == ["${PYTHON}", "${PYTHON}"]
    [major, minor] = re.findall(r"python:(\d+)\.(\d+)\.\d+", base)[0]
    assert f"Programming Language :: Python :: {major}.{minor}" in PROJECT["classifiers"]


def test_what_runs_is_not_root_and_writes_to_one_folder() -> None:
    [user] = said("USER")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)  # a number can be seen not to be root's, a name cannot
    owner, group = user.split(":")
    made = " ".join(said("RUN"))
    assert f"--uid {owner}" in made and f"--gid {group}" in made and f"-o {owner} -g {group} /data" in made
    assert said("VOLUME") == said("WORKDIR") == ["/data"]
    names = [one.name for one in dockerfile() if one.stage == LAST]
    assert names.index("RUN") < names.index("USER") and "RUN" not in names[names.index("USER") :]


def test_only_the_environment_gets_into_the_last_stage() -> None:
    assert said("COPY") == ["--from=build /opt/taskrelay /opt/taskrelay"]
    assert said("ADD") == []
    assert not {"curl", "wget", "apt-get"} & set(re.findall(r"[\w-]+", " ".join(one.text for one in dockerfile())))


def test_everything_copied_is_there_and_not_ignored() -> None:
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    sources = [path for text in said("COPY", 0) for path in text.split()[:-1]]
    assert {path for path in sources if not (ROOT / path).exists()} == set()
    assert sorted(sources) == sorted(kept)


def test_nothing_else_gets_into_the_context() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    secret = ["deploy/secrets/taskrelay/secret_keys", "deploy/service.env", "taskrelay.db", ".git/config"]
    assert [path for path in secret if any(fnmatch(path, line[1:] + "*") for line in lines if line[0] == "!")] == []


def test_everything_is_installed_by_hash_and_ours_from_a_wheel() -> None:
    steps = re.split(r" && ", " && ".join(said("RUN", 0)))
    fetched = [step for step in steps if "pip" in step and "install" in step and "-m venv" not in step]
    assert len(fetched) == 3
    assert all("--require-hashes" in step and "--only-binary=:all:" in step for step in fetched if "-r " in step)
    [ours] = [step for step in fetched if "-r " not in step]
    assert "--no-index" in ours and ours.endswith("wheels/*.whl") and " -e" not in ours
    assert all("-e ." not in step for step in steps)


def test_what_builds_the_wheel_is_locked() -> None:
    lock = (DEPLOY / "requirements-build.txt").read_text(encoding="utf-8")
    pinned = set(re.findall(r"(?m)^([\w-]+)==[\w.]+ \\\n    --hash=sha256:[0-9a-f]{64}", lock))
    assert "hatchling" in pinned
    developing = (DEPLOY / "requirements-dev.txt").read_text(encoding="utf-8")
    assert all(f"\n{line}" in developing for line in re.findall(r"(?m)^[\w-]+==[\w.]+", lock))
    assert {normal(name) for name in re.findall(r"(?m)^([\w-]+)", lock)} == pinned


def test_it_begins_with_the_console_script_and_takes_its_commands() -> None:
    [entry], [command] = said("ENTRYPOINT"), said("CMD")
    assert json.loads(entry) == list(PROJECT["scripts"])
    find(json.loads(command))[0].make_context("taskrelay", [])


def test_its_health_is_asked_by_a_command_of_ours_where_it_listens() -> None:
    [check] = said("HEALTHCHECK")
    assert "--timeout=10s" in check
    words: list[str] = ast.literal_eval(check.partition(" CMD ")[2])
    assert words[0] == "taskrelay"
    find(words[1:])[0].make_context("taskrelay", [])
    environment = dict(word.split("=", 1) for text in said("ENV") for word in shlex.split(text))
    assert environment["TASKRELAY_HOST"] == "0.0.0.0"
    assert HERE.rpartition(":")[2] == environment["TASKRELAY_PORT"] == said("EXPOSE")[0]
    # Set twice, as itself and as a file, a setting is refused: what a compose file gives as a file is not in the image.
    assert not any(name.startswith("TASKRELAY_DATABASE") for name in environment)


def test_it_is_stopped_by_what_it_listens_to() -> None:
    assert said("STOPSIGNAL") == ["SIGTERM"]


@pytest.mark.parametrize("name", COMPOSE)
def test_its_tag_is_this_release(name: str) -> None:
    ours = {one["image"] for one in services(name).values() if one["image"].startswith("taskrelay")}
    assert ours == {f"taskrelay:{__version__}"}


def step(one: Instruction, context: Path, built: Path) -> None:
    """What the engine would do at this instruction of the first stage, in folders of this machine."""
    work = built / "build"
    match one.name:
        case "COPY":
            *sources, target = one.text.split()
            into = work / target
            for source in sources:
                if (context / source).is_dir():
                    shutil.copytree(context / source, into, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    place = into / Path(source).name if target.endswith("/") else into
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(context / source, place)
        case "RUN":
            script = one.text.replace("/opt/taskrelay", str(built / "opt")).replace("/tmp/tools", str(built / "tools"))
            path = f"{built / 'bin'}:{os.environ['PATH']}"
            environment = {name: value for name, value in clean_environment().items() if name != "VIRTUAL_ENV"}
            subprocess.run(
                ["sh", "-ec", script],
                cwd=work,
                env={**environment, "PATH": path, "PIP_QUIET": "1"},
                check=True,
                timeout=600,
            )
        case _:
            pass


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_its_steps_make_what_serves_without_the_source(tmp_path: Path) -> None:
    built, empty = tmp_path / "image", tmp_path / "empty"
    for folder in (built / "bin", built / "build", empty):
        folder.mkdir(parents=True)
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    (built / "bin/python").symlink_to(base)
    for one in dockerfile():
        if one.stage == 0:
            step(one, ROOT, built)
    shutil.rmtree(built / "build")
    shutil.rmtree(built / "tools")
    command = built / "opt/bin/taskrelay"
    ran = subprocess.run([command, "--version"], cwd=empty, env=clean_environment(), capture_output=True, text=True)
    assert ran.stdout == f"taskrelay {__version__}\n"
    where = "import service, storage, asyncpg; print(service.__file__, storage.__file__)"
    found = subprocess.run([command.with_name("python"), "-I", "-c", where], cwd=empty, capture_output=True, text=True)
    assert all(Path(path).is_relative_to(built / "opt/lib") for path in found.stdout.split())
    assert not list((built / "opt/lib").rglob("hatchling")) and not list((built / "opt/lib").rglob("pip"))
    serves(command, empty)


def serves(command: Path, folder: Path) -> None:
    """Serve in an empty folder, and let the health command see it, as the image does."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    popen = subprocess.Popen(
        [command, "serve", "--port", str(port), "--json"],
        cwd=folder,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with Running(popen) as serving:
        serving.ready()
        asked = subprocess.run([command, "health", "--url", url], env=clean_environment(), timeout=60)
        assert asked.returncode == 0
        assert serving.end() == 0
    assert {path.name for path in folder.iterdir()} >= {"taskrelay.db", "taskrelay.secret"}
