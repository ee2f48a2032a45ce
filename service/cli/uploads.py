"""`uploads`: an image that has no URL of its own yet gets one, at the provider that will use it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.cli.client import HERE, Api, Key, Url
from service.cli.terminal import USAGE, Json, Stop, say, show

app = typer.Typer(no_args_is_help=True, help="Give an image of yours a URL, at the provider that will use it.")

LONGEST = 32 * 1024 * 1024  # beyond what any installation takes; the one asked says what it takes


@app.callback()
def uploads() -> None:
    """Give an image of yours a URL, at the provider that will use it."""


@app.command("create")
def create(
    image: Annotated[Path, typer.Argument(metavar="FILE", help="JPEG, PNG or WebP.", show_default=False)],
    provider: Annotated[
        str | None, typer.Option("--provider", "-p", help="Who stores it, such as ulazai.", show_default=False)
    ] = None,
    account: Annotated[
        str | None, typer.Option(help="A configured account, in place of --provider.", show_default=False)
    ] = None,
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """Upload an image and say its URL, for submit --image. Whoever has the URL can see it."""
    content = _read(image)
    fields = {name: value for name, value in (("provider", provider), ("account", account)) if value is not None}
    with Api(url, key) as api:
        made = api.upload("/v1/uploads", image.name, content, fields)
    if json:
        show(made)
        return
    say(f"{made['url']}")
    say(f"  {made['type']}, {made['width']} by {made['height']}, {made['bytes']:,} bytes, at {made['account']}")
    say(f"  {made['notice']}")


def _read(image: Path) -> bytes:
    try:
        with image.open("rb") as file:
            content = file.read(LONGEST + 1)
    except OSError as error:
        raise Stop(f"{image} cannot be read: {error.strerror or error}", USAGE) from None
    if len(content) > LONGEST:
        raise Stop(f"{image} is larger than 32 MiB: no provider takes that", USAGE)
    return content
