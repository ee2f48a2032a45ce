"""`probe`: says what it would buy, asks, buys that once, and reports what the provider really did."""

from __future__ import annotations

import json as json_text
import sys
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.opening import cannot, settings_of
from service.cli.stopping import run
from service.cli.terminal import FAILED, OK, USAGE, Json, Stop, columns, console, say, show

if TYPE_CHECKING:
    from service.bootstrap.accounts import Purchase
    from service.settings import Settings

NOT_ALL_HELD = "Something differs: the adapter may misread it. Send the report and the samples along with an issue."


def probe(
    account: Annotated[str, typer.Argument(help="A configured account.", show_default=False)],
    spend_up_to: Annotated[
        str | None,
        typer.Option("--spend-up-to", help="The most the job may cost, in the contract's unit.", show_default=False),
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option("--unit", help="That unit, such as credit; refused if it is another.", show_default=False),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="One model; by default the cheapest.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the samples and the probe's own database.", show_default=False),
    ] = None,
    listen: Annotated[
        float,
        typer.Option("--listen", min=0, max=3600, help="Seconds after the end for pushes that come late or twice."),
    ] = 30.0,
    yes: Annotated[bool, typer.Option("--yes", help="Buy without asking.")] = False,
    json: Json = False,
) -> None:
    """Buy the cheapest job at ACCOUNT and tell which documented facts held. Costs real money where the account is real.

    Runs the whole service on a database of its own in --out, listening on HOST and PORT: stop `serve` first, or give another
    port that PUBLIC_URL leads to. Run again with the same --out it goes on with the same job and buys nothing. Exit 1 if
    anything differs.
    """
    settings = settings_of("probe")
    wanted = _purchase(settings, account, model)
    _affordable(wanted, account, spend_up_to, unit)
    folder = (out or Path(f"probe-{account}")).absolute()
    told = _terms(wanted, account, settings, folder)
    if not json:
        say(told)
    _agreed(told, yes)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = run(_run(settings, account, wanted, folder, listen))
    found["samples"] = _written(found["samples"], folder)
    if json:
        show(found)
    else:
        _tell(found, folder)
    held = all(fact["verdict"] != "differs" for fact in found["facts"])
    raise typer.Exit(OK if held and found["status"] == "succeeded" else FAILED)


def _purchase(settings: Settings, account: str, model: str | None) -> Purchase:
    from service.bootstrap.accounts import cheapest_purchase
    from service.bootstrap.errors import StartError

    if account not in settings.accounts:
        known = ", ".join(settings.accounts) or "none is configured"
        raise Stop(f"probe: there is no account {account!r}; {known}", USAGE)
    try:
        found = cheapest_purchase(_alone(settings, account), account, model)
    except StartError as error:
        raise Stop(cannot("probe", error)) from None
    except KeyError:
        raise Stop(
            f"probe: account {account} is off\n    TASKRELAY_ACCOUNTS__{account.upper()}__ENABLED=true"
        ) from None
    if found is None:
        raise Stop(f"probe: its contract has no model {model!r}. GET /v1/providers lists them", USAGE)
    return found


def _alone(settings: Settings, account: str) -> Settings:
    """The settings as if there were this account only: others' faults are none of a probe's."""
    return settings.model_copy(update={"accounts": {account: settings.accounts[account]}})


def _affordable(wanted: Purchase, account: str, spend_up_to: str | None, unit: str | None) -> None:
    """Nothing is bought that was not named, and nothing whose price nobody knows. Raises `Stop`."""
    cost = f"{wanted.amount} {wanted.unit}"
    if wanted.amount is None:
        rate = f"TASKRELAY_ACCOUNTS__{account.upper()}__UNITS_PER_SECOND=<what a second costs there>"
        raise Stop(f"probe: what {wanted.model} costs is not known, so no amount can bound it\n    {rate}")
    if spend_up_to is None:
        raise Stop(
            f"probe: it buys a real job, about {cost}. Say what it may cost: --spend-up-to {wanted.amount}", USAGE
        )
    if unit is not None and unit != wanted.unit:
        raise Stop(f"probe: this contract counts in {wanted.unit}, not in {unit}", USAGE)
    try:
        most = Decimal(spend_up_to)
    except InvalidOperation:
        most = Decimal("NaN")
    if not most.is_finite() or most < 0:
        raise Stop("probe: --spend-up-to takes an amount, such as 2.4", USAGE)
    if wanted.amount > most:
        raise Stop(f"probe: the cheapest job costs about {cost}, more than {most}. Nothing was bought")


def _terms(wanted: Purchase, account: str, settings: Settings, folder: Path) -> str:
    pushes = settings.public_url or "not seen: TASKRELAY_PUBLIC_URL is not set"
    return (
        f"One job at account {account}: {wanted.model}, {wanted.seconds} s, about {wanted.amount} {wanted.unit}\n"
        f"  pushes   {pushes}\n"
        f"  folder   {folder}"
    )


def _agreed(told: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise Stop(f"{told}\nprobe: nobody is here to agree. To buy it: --yes", USAGE)
    if not typer.confirm("Buy it?", err=True):
        raise Stop("probe: nothing was bought")


async def _run(settings: Settings, account: str, wanted: Purchase, folder: Path, listen: float) -> dict[str, Any]:
    from service.bootstrap.errors import StartError
    from service.cli.probe.run import run as probe_account
    from storage.errors import StorageError

    own = _alone(settings, account).model_copy(
        update={"database_url": f"sqlite:///{folder / 'probe.db'}", "roles": frozenset({"api", "work"})}
    )
    try:
        with console(stderr=True).status("…") as status:
            return await probe_account(own, account, wanted, listen, lambda text: status.update(text))
    except (StartError, StorageError, ValueError, OSError) as error:
        raise Stop(cannot("probe", error)) from None


def _written(samples: Mapping[str, Any], folder: Path) -> list[str]:
    """Each in a file of its own, in the form of the contract suite."""
    written = []
    for name, sample in samples.items():
        path = folder / f"{name}.json"
        path.write_text(json_text.dumps(sample, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(str(path))
    return written


def _tell(found: Mapping[str, Any], folder: Path) -> None:
    say(f"{found['task']}  {found['status']}" + (f"  {found['why']}" if found["why"] else ""))
    rows = [(fact["verdict"], fact["name"], fact["documented"], fact["seen"]) for fact in found["facts"]]
    if rows:
        columns(rows, head=("VERDICT", "FACT", "DOCUMENTED", "SEEN"))
    if found["samples"]:
        say(
            f"{len(found['samples'])} samples without keys, links and prompts: {folder}. Look at them before you share them."
        )
    if any(fact["verdict"] == "differs" for fact in found["facts"]):
        say(NOT_ALL_HELD)
