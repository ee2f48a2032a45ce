"""The command `taskrelay` and how every run of it ends."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from service import __version__
from service.cli import (
    accounts,
    audit,
    db,
    deliveries,
    endpoints,
    event_types,
    events,
    health,
    init,
    keys,
    listen,
    sandbox,
    serve,
    submit,
    tasks,
    usage,
    verify,
    why,
)
from service.cli.demo import command as demo
from service.cli.dev import command as dev
from service.cli.doctor import command as doctor
from service.cli.probe import command as probe
from service.cli.terminal import INTERRUPTED, Stop, say

app = typer.Typer(
    name="taskrelay",
    help="Buys generation tasks once, learns how they end, tells every subscriber.",
    epilog="Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 nobody answers.",
    no_args_is_help=True,
    add_completion=False,
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


app.command("init")(init.init)
app.command("serve")(serve.serve)
app.command("health")(health.health)
app.command("doctor")(doctor.doctor)
app.command("probe")(probe.probe)
app.command("demo")(demo.demo)
app.command("dev")(dev.dev)
app.command("sandbox")(sandbox.sandbox)
app.command("subscriber", hidden=True)(sandbox.subscriber)
app.command("submit")(submit.submit)
app.command("verify")(verify.verify)
tasks.app.command("why")(why.why)
app.add_typer(tasks.app, name="tasks")
app.add_typer(audit.app, name="audit")
app.add_typer(accounts.app, name="accounts")
app.add_typer(endpoints.app, name="endpoints")
app.add_typer(events.app, name="events")
app.command("event-types")(event_types.event_types)
app.command("listen")(listen.listen)
app.add_typer(deliveries.app, name="deliveries")
app.add_typer(keys.app, name="keys")
app.command("usage")(usage.usage)
app.add_typer(db.app, name="db")


def main() -> None:
    """Run one command. Exit codes: `terminal`."""
    try:
        app(prog_name="taskrelay")
    except Stop as stop:
        stop.tell(json="--json" in sys.argv[1:])
        sys.exit(stop.code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
