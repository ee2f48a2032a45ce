from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.core

from service import __version__
from service.cli.app import app
from service.cli.demo.stage import ROOT, our_command
from tests.service.cli.processes import SECONDS, run

HEAVY = {"pydantic", "aiohttp", "httpx", "uvicorn", "starlette", "aiosqlite", "cryptography", "orjson", "storage"}
SPEAKS_NOTHING_ELSE = {"openapi"}


def leaves() -> Iterator[tuple[str, Any]]:
    root = typer.main.get_command(app)
    assert isinstance(root, typer.core.TyperGroup)
    for name, command in root.commands.items():
        if isinstance(command, typer.core.TyperGroup):
            yield from ((f"{name} {inner}", each) for inner, each in command.commands.items())
        else:
            yield name, command


def test_help_loads_nothing_heavy() -> None:
    look = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv = ['taskrelay', '--help']\n"
        "from service.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "print('\\n'.join({m.split('.')[0] for m in sys.modules}))"
    )
    command = [sys.executable, "-P", "-c", look]
    said = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    assert "serve" in said.stdout
    assert not HEAVY & set(said.stdout.splitlines())


def test_every_command_speaks_json_and_says_what_it_does() -> None:
    commands = dict(leaves())
    assert len(commands) >= 15
    assert {name for name, one in commands.items() if "json" not in {p.name for p in one.params}} == SPEAKS_NOTHING_ELSE
    assert [name for name, command in commands.items() if not command.help] == []


@pytest.mark.parametrize("arguments", [["nonsense"], ["tasks", "get"], ["serve", "--port", "99999"], ["submit", "x"]])
def test_wrong_usage_is_exit_2_and_says_so_on_stderr(arguments: list[str], tmp_path: Path) -> None:
    ended = run(*arguments, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "Usage: taskrelay" in ended.stderr


def test_the_version_is_told(tmp_path: Path) -> None:
    ended = run("--version", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (0, f"taskrelay {__version__}\n")


def test_an_error_is_a_document_where_documents_were_asked_for(tmp_path: Path) -> None:
    ended = run("tasks", "list", "--url", "http://127.0.0.1:1", "--json", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (3, "")
    assert json.loads(ended.stderr)["exit"] == 3


def test_a_key_is_never_shown_by_help(tmp_path: Path) -> None:
    ended = run("tasks", "list", "--help", cwd=tmp_path, settings={"TASKRELAY_KEY": "trk_verysecret"})
    assert ended.returncode == 0 and "TASKRELAY_KEY" in ended.stdout
    assert "verysecret" not in ended.stdout + ended.stderr


def test_the_help_of_the_whole_fits_a_terminal(tmp_path: Path) -> None:
    lines = run("--help", cwd=tmp_path, settings={"COLUMNS": "80"}).stdout.splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 80
    assert run(cwd=tmp_path, settings={"COLUMNS": "80"}).stderr.splitlines() == lines


def test_wrong_usage_is_a_document_where_documents_were_asked_for(tmp_path: Path) -> None:
    ended = run("tasks", "lsit", "--json", cwd=tmp_path)
    told = json.loads(ended.stderr)
    assert (ended.returncode, ended.stdout, told["exit"]) == (2, "", 2)
    assert told["error"]["detail"] == "No such command 'lsit'. Did you mean 'list'?"
    assert told["error"]["usage"].startswith("taskrelay tasks ")


def test_where_nothing_can_be_written_it_says_so_in_a_line(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            our_command("--version"), cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, timeout=SECONDS
        )
    assert (ended.returncode, ended.stderr) == (1, "taskrelay: no space left on device\n")


def test_what_a_terminal_cannot_show_is_a_question_mark_and_documents_are_utf_8(tmp_path: Path) -> None:
    ascii = {"PYTHONIOENCODING": "ascii"}
    shown = run("doctor", "--offline", cwd=tmp_path, settings=ascii)
    assert (shown.returncode, shown.stderr) == (1, "")
    assert "? settings: There is no account" in shown.stdout
    told = run("tasks", "list", "--url", "ö", "--json", cwd=tmp_path, settings=ascii)
    assert json.loads(told.stderr)["error"]["detail"].startswith("--url: 'ö' is not a URL")


def test_an_argument_that_is_no_text_is_wrong_usage(tmp_path: Path) -> None:
    ended = run("tasks", "why", os.fsdecode(b"order-\xff"), "--url", "http://127.0.0.1:1", cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (2, "an argument is no text in UTF-8: b'order-\\xff'\n")


def test_what_can_be_chosen_stands_in_a_line(tmp_path: Path) -> None:
    ended = run("tasks", "resolve", cwd=tmp_path)
    assert ended.returncode == 2
    assert "Missing option '--action'. Choose from: adopt, resubmit, abandon\n" in ended.stderr
