"""docs/command.md and the command say the same."""

from __future__ import annotations

import re

from service.cli import terminal
from tests.docs import commands
from tests.docs.pages import section, text


def test_the_page_has_every_command_with_what_its_help_says() -> None:
    assert text(commands.PAGE) == commands.rewritten(), "write it again: python -m tests.docs.commands"


def test_the_page_has_every_exit_code_there_is() -> None:
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", section(commands.PAGE, "Exit codes"), re.MULTILINE)}
    codes = {value for name, value in vars(terminal).items() if name.isupper() and isinstance(value, int)}
    assert told == codes
