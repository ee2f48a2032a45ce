from __future__ import annotations

from typing import Any

import pytest
import typer.core
import typer.main

from service.cli.app import Shelf, load
from service.cli.commands import COMMANDS, PARTS

WIDE = 80
EXPECTED = {
    "tasks",
    "endpoints",
    "events",
    "deliveries",
    "keys",
    "projects",
    "db",
    "doctor",
    "verify",
    "bench",
    "whoami",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_row_leads_to_a_command_that_says_what_it_does(name: str) -> None:
    command: Any = load(name, COMMANDS[name])
    assert command.name == name and command.help


def test_what_is_said_of_each_fits_beside_its_name_and_is_no_sentence() -> None:
    widest = max(map(len, COMMANDS))
    said = {name: row.does for name, row in COMMANDS.items()}
    assert [name for name, does in said.items() if 2 + widest + 2 + len(does) > WIDE] == []
    assert [name for name, does in said.items() if does.endswith(".") or not does[0].islower()] == []


def test_no_command_stands_in_two_parts() -> None:
    assert len(COMMANDS) == sum(map(len, PARTS.values())) and set(COMMANDS) >= EXPECTED


def test_a_command_is_loaded_when_it_is_taken_and_once() -> None:
    shelf = Shelf()
    assert list(shelf) == list(COMMANDS)
    assert isinstance(shelf["tasks"], typer.core.TyperGroup) and shelf["tasks"] is shelf["tasks"]
