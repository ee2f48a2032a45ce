"""How commands speak: exit codes scripts can rely on, one JSON document on stdout or lines for people, errors on stderr.

Nothing that came from outside reaches the terminal with a control character in it.
"""

from __future__ import annotations

import json as json_text
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.telemetry.redact import visible

if TYPE_CHECKING:
    from rich.console import Console

OK = 0
FAILED = 1  # refused, or it did not succeed
USAGE = 2  # the command line itself is wrong
UNREACHABLE = 3  # nobody answered, so nothing is known
INTERRUPTED = 130  # Ctrl-C
UNREAD = 141  # whoever read our output went away: what a shell says of `yes | head`
TERMINATED = 143  # SIGTERM

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout instead of text.")]


class Stop(Exception):
    """Ends a command. `text`: one line or more for a person; `facts`: the same for a program."""

    def __init__(self, text: str, code: int = FAILED, facts: Mapping[str, Any] | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.code = code
        self.facts = facts

    def tell(self, json: bool) -> None:
        """Say it on stderr, where it cannot be mistaken for a result."""
        if json:
            error = dict(self.facts) if self.facts is not None else {"detail": self.text}
            sys.stderr.write(json_text.dumps({"error": error, "exit": self.code}, ensure_ascii=False) + "\n")
        else:
            warn(self.text)


def show(document: object) -> None:
    """A result for a program."""
    sys.stdout.write(json_text.dumps(document, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None) + "\n")
    sys.stdout.flush()


def say(text: str = "") -> None:
    """A result for a person."""
    sys.stdout.write(clean(text) + "\n")
    sys.stdout.flush()


def warn(text: str) -> None:
    sys.stderr.write(clean(text) + "\n")
    sys.stderr.flush()


def note(text: str) -> None:
    """Something to know that is no result, on stderr: a line for a person, a document where documents were asked for."""
    if "--json" in sys.argv[1:]:
        sys.stderr.write(json_text.dumps({"note": text}, ensure_ascii=False) + "\n")
        sys.stderr.flush()
    else:
        warn(f"… {text}")


def clean(text: str) -> str:
    """The text with its line breaks and nothing else a terminal would act on."""
    return "\n".join(visible(line) for line in text.split("\n"))


def columns(rows: Iterable[Sequence[object]], *, head: Sequence[str] = ()) -> None:
    """Rows under each other, as wide as they need to be: a cut id cannot be copied."""
    all_rows = [*([head] if head else []), *rows]
    cells = [[visible("-" if cell in (None, "") else str(cell)) for cell in row] for row in all_rows]
    widths = [max(len(row[number]) for row in cells) for number in range(len(cells[0]))] if cells else []
    for row in cells:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def console(*, stderr: bool = False) -> Console:
    """Where bars are drawn. Colours and bars appear on a terminal only."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)
