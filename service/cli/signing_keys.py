"""`signing-keys`: what receivers verify v1a signatures with, and a new one beside the old."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from service.cli.client import HERE, Api, Key, Url
from service.cli.terminal import Json, columns, say, show

app = typer.Typer(no_args_is_help=True, help="The public keys that v1a signatures are verified with; rotate them.")


@app.command("list")
def list_keys(url: Url = HERE, key: Key = "", json: Json = False) -> None:
    """List the keys that sign now, newest first."""
    with Api(url, key) as api:
        page = api.get("/v1/signing-keys")
    if json:
        show(page)
        return
    columns([_row(one) for one in page["data"]], head=("KEY", "STATUS", "PUBLIC KEY", "UNTIL"))


@app.command("rotate")
def rotate(
    overlap: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="SECONDS", help="How long the one before still signs beside it.", show_default=False
        ),
    ] = None,
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """Make a new key, also where there was none. The one before signs beside it for a while."""
    body = {} if overlap is None else {"overlap_seconds": overlap}
    with Api(url, key) as api:
        made = api.create("/v1/signing-keys/rotate", body)
    if json:
        show(made)
        return
    say(f"{made['id']}  {made['status']}")
    say(f"  public key {made['public_key']}")
    for old in made["retiring"]:
        say(f"  beside it  {old['id']} until {old['expires_at']}")
    say("  Give the new public key to those who verify v1a before the old one ends.")


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    return one["id"], one["status"], one["public_key"], one["expires_at"]
