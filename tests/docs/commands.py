"""The table of all commands on docs/command.md, from the commands themselves. `python -m tests.docs.commands` writes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from service.cli.app import first_line, load
from service.cli.commands import PARTS
from service.cli.examples import EXAMPLES
from tests.docs.pages import ROOT, text

PAGE = "docs/command.md"
BETWEEN = re.compile(r"(<!-- commands: .*? -->\n).*?(<!-- /commands -->)", re.DOTALL)


def table() -> str:
    """Each part: its commands with what they do, and what people type."""
    return "\n".join(line for part, commands in PARTS.items() for line in _part(part, commands)) + "\n"


def _part(title: str, commands: Any) -> Iterator[str]:
    yield f"### {title}"
    yield ""
    yield "| command | does |"
    yield "|---|---|"
    examples: list[str] = []
    for name, row in commands.items():
        if row.hidden:
            continue
        for path, command in leaves(name, load(name, row)):
            yield f"| `taskrelay {path}` | {first_line(command).replace('|', chr(92) + '|')} |"
            examples += EXAMPLES.get(path, ())
    if examples:
        yield from ("", "```sh", *examples, "```")
    yield ""


def leaves(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    """The commands below a name; a group that does something by itself is one too."""
    inner = getattr(command, "commands", None)
    if inner is None or command.invoke_without_command:
        yield path, command
    for name, one in (inner or {}).items():
        yield from leaves(f"{path} {name}", one)


def rewritten() -> str:
    """The page with the table as it must be."""
    return BETWEEN.sub(lambda found: found[1] + "\n" + table() + found[2], text(PAGE))


if __name__ == "__main__":
    (ROOT / PAGE).write_text(rewritten(), encoding="utf-8")
