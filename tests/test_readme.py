"""What the pages say of settings, commands and each other is so."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.core
import typer.main

from service.cli.app import app
from service.cli.client import CLIENT_VARIABLES
from service.cli.demo.stage import clean_environment, free_port
from service.cli.dev.command import PORT
from service.settings import shape
from tests.service.cli.processes import SECONDS, Running

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")])
SETTINGS_PAGES = ("README.md", "docs/settings.md")
NAMED = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in PAGES}

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| (`[A-Z].*?) \| (.*?) \| .* \|$", re.MULTILINE)
SETTING = re.compile(r"(?:TASKRELAY_)?[A-Z]+(?:_[A-Z]+)*(?:__(?:[A-Z]+(?:_[A-Z]+)*|…|\*))*")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def in_code(text: str) -> str:
    """The fenced blocks and the `spans` of a page, a line each."""
    blocks = [found[2] for found in FENCE.finditer(text)]
    return "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", FENCE.sub("", text))])


def rows(page: str) -> Iterator[tuple[str, str]]:
    """The settings a page tabulates, each with its default as written."""
    for names, defaults in ROW.findall(NAMED[page]):
        found, told = re.findall(r"`([^`]+)`", names), re.findall(r"`([^`]*)`", defaults)
        yield from zip(found, told if len(told) == len(found) > 1 else [defaults] * len(found), strict=True)


def meant(name: str) -> set[str]:
    """The settings that a name as the pages write it stands for: `ACCOUNTS__…__RATE`, `TIMING__*`, `TASKRELAY_PORT`."""
    path = name.removeprefix(shape.PREFIX).lower().split(shape.DEEPER)
    if path[-1] == "*":
        return {leaf.variable for leaf in shape.leaves().values() if leaf.path[:-1] == tuple(path[:-1])}
    known = shape.path_of(shape.variable(tuple("any" if part == "…" else part for part in path)))
    leaf = shape.find(known[0]) if known else None
    return {leaf.variable} if leaf else set()


def test_every_setting_of_the_model_is_in_a_table() -> None:
    told = {
        variable for page in SETTINGS_PAGES for name, _ in rows(page) if "*" not in name for variable in meant(name)
    }
    assert told == {leaf.variable for leaf in shape.leaves().values()}


@pytest.mark.parametrize("page", NAMED)
def test_every_setting_a_page_names_exists(page: str) -> None:
    tabulated = {name for name, _ in rows(page)}
    spelled = {name for name in SETTING.findall(in_code(NAMED[page])) if name.startswith("TASKRELAY_") or "__" in name}
    assert {name for name in tabulated | spelled if not meant(name)} <= CLIENT_VARIABLES


@pytest.mark.parametrize(
    ("name", "told"), [row for page in SETTINGS_PAGES for row in rows(page) if re.fullmatch(r"`?[\w:/.,]+`?", row[1])]
)
def test_a_default_is_the_one_the_page_says(name: str, told: str) -> None:
    [variable] = meant(name)
    [leaf] = [leaf for leaf in shape.leaves().values() if leaf.variable == variable]
    assert told.strip("`") == shown(leaf.field.default)


def shown(default: object) -> str:
    if isinstance(default, frozenset):
        return ",".join(sorted(map(str, default)))
    return (
        str(default).lower()
        if isinstance(default, bool)
        else f"{default:g}"
        if isinstance(default, float)
        else str(default)
    )


def commands(text: str) -> Iterator[list[str]]:
    """The arguments of every `taskrelay …` in a text of code."""
    for said in re.findall(r"\btaskrelay ((?:-|[a-z])[^|&)#>\n]*)", text.replace("\\\n", " ")):
        yield [word for word in shlex.split(said) if word != "…"]


@cache
def whole() -> Any:
    """Everything that can be typed; building it takes a tenth of a second."""
    return typer.main.get_command(app)


def find(words: list[str]) -> tuple[typer.core.TyperCommand | typer.core.TyperGroup, list[str]]:
    """The command that these words name, and what is said to it. A group may be one by itself."""
    found = whole()
    while isinstance(found, typer.core.TyperGroup) and words and words[0] in found.commands:
        found, words = found.commands[words[0]], words[1:]
    alone = isinstance(found, typer.core.TyperGroup) and found.invoke_without_command
    assert isinstance(found, typer.core.TyperCommand) or alone, f"there is no command {words[:1]}"
    assert isinstance(found, typer.core.TyperCommand | typer.core.TyperGroup)
    return found, words


@pytest.mark.parametrize("page", NAMED)
def test_every_command_line_of_a_block_can_be_run(page: str) -> None:
    for _, block in FENCE.findall(NAMED[page]):
        for words in commands(block):
            command, arguments = find(words)
            command.make_context("taskrelay", arguments)  # refuses what the command would refuse


@pytest.mark.parametrize("page", NAMED)
def test_every_command_in_the_text_exists_with_its_options(page: str) -> None:
    for words in commands(in_code(NAMED[page])):
        command, arguments = find(words)
        known = {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
        assert {word.partition("=")[0] for word in arguments if word.startswith("-")} <= known


def test_the_first_task_is_among_the_commands_that_were_tried() -> None:
    tried = {" ".join(words[:2]) for words in commands(in_code(NAMED["README.md"]))}
    assert {"tasks why", "audit", "init --provider", "doctor", "keys create", "serve"} <= tried
    targets = re.findall(r"^make ([a-z-]+)", in_code(NAMED["README.md"]), re.MULTILINE)
    assert targets[:2] == ["demo", "dev"]


@pytest.mark.slow
def test_the_first_task_works_as_printed_while_dev_runs(tmp_path: Path) -> None:
    lines = next(block for _, block in FENCE.findall(NAMED["README.md"]) if "order-8841" in block)
    [(usual, port)] = re.findall(r"(http://127\.0\.0\.1:(\d+)) TASKRELAY_KEY", lines)
    assert int(port) == PORT
    ports = free_port(), free_port()
    options = ("--port", str(ports[0]), "--sandbox-port", str(ports[1]), "--job-seconds", "0.5")
    with Running.start("dev", *options, cwd=tmp_path) as dev:
        dev.until(lambda line: "What happens to your tasks" in line)
        (tmp_path / ".venv/bin").mkdir(parents=True)
        (tmp_path / ".venv/bin/activate").write_text(f'PATH="{Path(sys.executable).parent}:$PATH"\n')
        script = "set -e\n" + lines.replace(usual, f"http://127.0.0.1:{ports[0]}")
        pasted = subprocess.run(
            ["sh", "-c", script], cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, timeout=SECONDS
        )
        assert dev.end() == 0
    assert pasted.returncode == 0, pasted.stdout + pasted.stderr
    task, end = json.JSONDecoder().raw_decode(pasted.stdout)
    assert (task["status"], task["reference"]) == ("succeeded", "order-8841")
    assert task["id"] in pasted.stdout[end:]


@pytest.mark.parametrize("page", NAMED)
def test_every_target_of_make_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)\b", in_code(NAMED[page]))) <= targets


@pytest.mark.parametrize("page", NAMED)
def test_every_link_leads_somewhere(page: str) -> None:
    here = (ROOT / page).parent
    for link in LINK.findall(FENCE.sub("", NAMED[page])):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = (here / file).resolve() if file else ROOT / page
        assert target.exists(), f"{page} links to {link}"
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), f"{page} links to {link}"


def anchors(text: str) -> set[str]:
    """The anchors that a Markdown page gives its headings."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
