"""`providers`: the contracts there are, what their models take and cost, and whether an account is there to use them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from service.cli.client import HERE, Api, Key, Url
from service.cli.terminal import Json, columns, say, show

app = typer.Typer(no_args_is_help=True, help="The contracts there are, and what their models take and cost.")

Name = Annotated[str, typer.Argument(metavar="PROVIDER", help="Such as cloudsway.", show_default=False)]


@app.command("list")
def list_providers(url: Url = HERE, key: Key = "", json: Json = False) -> None:
    """List every contract with its models."""
    with Api(url, key) as api:
        page = api.get("/v1/providers")
    if json:
        show(page)
        return
    rows = [
        (one["name"], model["name"], _pushes(one["traits"]), _accounts(one), _health(one))
        for one in page["data"]
        for model in one["models"]
    ]
    columns(rows, head=("PROVIDER", "MODEL", "LEARNS BY", "ACCOUNTS", "HEALTH"))


@app.command("get")
def get(provider: Name, url: Url = HERE, key: Key = "", json: Json = False) -> None:
    """Show one contract: what each model takes, its rules and prices, and how the accounts do."""
    with Api(url, key) as api:
        found = api.get(f"/v1/providers/{provider}")
    if json:
        show(found)
    else:
        say("\n".join(_page(found)))


def _pushes(traits: Mapping[str, Any]) -> str:
    return "pushes and polls" if traits["callbacks"] else "polls"


def _accounts(one: Mapping[str, Any]) -> str:
    return ", ".join(account["name"] + ("" if account["enabled"] else " (off)") for account in one["accounts"])


def _health(one: Mapping[str, Any]) -> str:
    """What keeps its accounts from buying; `-` where nobody could buy anyway."""
    held = [account for account in one["accounts"] if account["enabled"]]
    words = {word for account in held for word in _ails(account["health"])}
    return ", ".join(sorted(words)) or ("well" if held else "")


def _ails(health: Mapping[str, Any]) -> Iterator[str]:
    if health["breaker"] != "closed":
        yield "breaker open"
    if health["held_until"] or health["held_reason"]:
        yield "held"


def _page(one: Mapping[str, Any]) -> Iterator[str]:
    traits = one["traits"]
    yield f"{one['name']}  learns by {_pushes(traits)}"
    lost = "looked up" if traits["look_up"] else "sent again" if traits["resend"] else "held for a person"
    yield f"  lost reply {lost}"
    yield f"  uploads    {'yes' if traits['uploads'] else 'no'}"
    for account in one["accounts"]:
        ails = ", ".join(_ails(account["health"])) if account["enabled"] else "off"
        yield f"  account    {account['name']}  {ails or 'well'}"
    for model in one["models"]:
        yield f"{one['name']}/{model['name']}"
        yield f"  takes      {', '.join(model['inputs'])}"
        if model["provider_options"]:
            yield f"  options    {', '.join(model['provider_options'])}"
        yield from (f"  rule       {rule}" for rule in model["rules"])
        yield from (f"  price      {price_line(price)}" for price in model["prices"])


def price_line(price: Mapping[str, Any]) -> str:
    """`0.8 unit per second, resolution 720p`."""
    when = "".join(f", {name} {value}" for name, value in (price.get("when") or {}).items())
    return f"{price['amount']} {price['unit']} per {price['per']}{when}"
