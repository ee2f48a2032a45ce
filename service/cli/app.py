"""The command `taskrelay`: loads the one that is named, runs it, and sees to it that every run ends in an exit code."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from service import __version__
from service.cli.commands import COMMANDS, PARTS, Row
from service.cli.examples import EXAMPLES
from service.cli.stopping import Stopping
from service.cli.terminal import FAILED, INTERRUPTED, OK, UNREAD, USAGE, Stop, say

DOES = "Buys generation tasks once, learns how they end, tells every subscriber."
EXITS = "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 nobody answers."
USAGE_LINE = "Usage: taskrelay COMMAND …   (taskrelay COMMAND -h says more of each)"


class Shelf(MutableMapping[str, Any]):
    """The commands by name. One is loaded when it is taken: all together they take longer than most of them run."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = load(name, COMMANDS[name])
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def load(name: str, row: Row) -> Any:
    """The command of a row, as typer knows it, with its examples."""
    module, _, called = row.where.partition(":")
    found = getattr(import_module(f"service.cli.{module}"), called)
    if isinstance(found, typer.Typer):
        found.rich_markup_mode = None
        found.info.cls = Group
        command: Any = typer.main.get_group(found)
    else:
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(name, hidden=row.hidden)(found)
        command = typer.main.get_command(alone)
    command.name = name
    _exemplify(command, name)
    return command


def _exemplify(command: Any, path: str) -> None:
    """Put a command's examples below its help, and those of its subcommands below theirs."""
    if lines := EXAMPLES.get(path):
        # \b keeps the lines as they are.
        command.epilog = "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
    for name, inner in getattr(command, "commands", {}).items():
        _exemplify(inner, f"{path} {name}")


class Group(typer.core.TyperGroup):
    """Commands of one kind. Its help says of each all it does, where typer would cut it off."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        shown = [(name, command) for name, command in self.commands.items() if not command.hidden]
        with formatter.section("Commands"):
            formatter.write_dl([(name, first_line(command)) for name, command in shown])


def first_line(command: Any) -> str:
    """What a command does, in its first paragraph."""
    return " ".join((command.help or "").split("\n\n")[0].split())


class Root(typer.core.TyperGroup):
    """All commands, under their parts in the help."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes | {"commands": {}})
        self.commands = Shelf()

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(f"{DOES}\n{USAGE_LINE}\n")
        for part, commands in PARTS.items():
            formatter.write(f"\n{part}\n")
            rows = [(name.ljust(WIDEST), row.does) for name, row in commands.items() if not row.hidden]
            with formatter.indentation():
                formatter.write_dl(rows)
        formatter.write(f"\n{EXITS}\n")


WIDEST = max(map(len, COMMANDS))

app = typer.Typer(
    name="taskrelay",
    cls=Root,
    help=DOES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # its boxes do not fit narrow terminals, and take a third of the time of a --help
    pretty_exceptions_enable=False,  # its tracebacks show local variables, and those hold keys
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"taskrelay {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which release this is.")
    ] = False,
) -> None:
    """Buys generation tasks once, learns how they end, tells every subscriber."""


def run(arguments: Sequence[str], *, interruptible: bool) -> int:
    """Run one command to its end, however it ends. Returns the exit code."""
    stopping, json = Stopping(), "--json" in arguments
    try:
        _give_streams(json=json)
        stopping.listen(interruptible=interruptible)
        code = _run(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _hush()
        return UNREAD
    except Exception as error:
        if stopping.code is not None:
            return stopping.code  # what a library made of it
        if isinstance(error, OSError):
            return _denied(error, json=json)
        raise


def _run(arguments: Sequence[str]) -> int:
    """Not by typer's own `main`, for which a reader who leaves is a failure and wrong usage never a document."""
    commands = typer.main.get_command(app)
    try:
        with commands.make_context("taskrelay", list(arguments)) as context:
            commands.invoke(context)
        return OK
    except typer.Exit as ended:
        return ended.exit_code
    except Stop as stop:
        why = stop
    except typer.TyperException as error:
        why = _misused(error)
    except (typer.Abort, EOFError):
        why = Stop("nobody answered the question", FAILED)
    except UnicodeEncodeError as error:
        why = _unreadable(arguments, error)
    why.tell(json="--json" in arguments)
    return why.code


def _misused(error: Any) -> Stop:
    """What is wrong with the command line, and what it should look like."""
    context, text = getattr(error, "ctx", None), error.format_message().replace("\n\t", " ")
    if context is None:
        return Stop(text, error.exit_code)
    if type(error).__name__ == "NoArgsIsHelpError":  # typer does not hand the class out; its text is the help
        return Stop(text, error.exit_code)
    usage = context.get_usage()
    whole = f"{usage}\n{text}\n    {context.command_path} -h says what there is."
    return Stop(whole, error.exit_code, {"code": "usage", "detail": text, "usage": usage.removeprefix("Usage: ")})


def _unreadable(arguments: Sequence[str], error: UnicodeEncodeError) -> Stop:
    """Bytes of the command line that are no text came to where only text may go. Raises the error if that is not why."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            return Stop(f"an argument is no text in UTF-8: {os.fsencode(argument)!r}", USAGE)
    raise error


def _denied(error: OSError, *, json: bool) -> int:
    """The machine would not, and no command said it better: a disk is full, a folder is not ours."""
    about = f"{error.filename}: " if error.filename else ""
    with suppress(OSError):
        Stop(f"taskrelay: {about}{(error.strerror or str(error)).lower()}").tell(json)
    _hush()
    return FAILED


def _give_streams(*, json: bool) -> None:
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started us, and the next file would be taken for it
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif json and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")  # as documents are, whatever the locale
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # what a terminal cannot show is a question mark, and no failure


def _hush() -> None:
    """What is still in the buffers has no reader: Python would complain of that at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
