from __future__ import annotations

import shlex

import pytest

from service.cli.examples import EXAMPLES
from tests.test_readme import find


@pytest.mark.parametrize(("path", "line"), [(path, line) for path, lines in EXAMPLES.items() for line in lines])
def test_an_example_is_of_its_command_and_is_taken_by_it(path: str, line: str) -> None:
    assert line.startswith(f"taskrelay {path}")
    command, arguments = find(shlex.split(line)[1:])
    command.make_context("taskrelay", arguments)  # refuses what the command would refuse


def test_an_example_is_shown_below_the_help_as_it_is_typed() -> None:
    command, _ = find(["tasks", "watch"])
    shown = command.get_help(command.make_context("watch", [], resilient_parsing=True))
    assert [f"    {line}" in shown.splitlines() for line in EXAMPLES["tasks watch"]] == [True, True]
