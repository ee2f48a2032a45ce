"""Lists of the API: one page and how to go on, or all of them as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from service.cli.client import Api
from service.cli.progress import counting
from service.cli.terminal import USAGE, Stop, say

Filter = Annotated[str | None, typer.Option(show_default=False)]
Limit = Annotated[int, typer.Option(min=1, max=200, help="How many at most.")]
After = Annotated[str | None, typer.Option(help="The cursor that the page before ended with.", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="Every page there is, as one.")]

MOST = 200  # of a page, says the API


def listed(
    api: Api, path: str, wanted: Mapping[str, Any], *, limit: int, after: str | None, whole: bool, quiet: bool
) -> dict[str, Any]:
    """One page, or with `whole` all from there on in its shape. `quiet`: no count while it goes on."""
    if not whole:
        page: dict[str, Any] = api.get(path, {**wanted, "limit": limit, "after": after})
        return page
    rows: list[Any] = []
    last: dict[str, Any] = {}
    with counting("reading", quiet=quiet) as add:
        for last in pages(api, path, wanted, after=after):
            rows += last["data"]
            add(len(last["data"]))
    return {**last, "data": rows}


def pages(api: Api, path: str, wanted: Mapping[str, Any], *, after: str | None = None) -> Iterator[dict[str, Any]]:
    """Page after page, to the last."""
    while True:
        page = api.get(path, {**wanted, "limit": MOST, "after": after})
        yield page
        if not page["has_more"]:
            return
        after = page["next"]


def more(page: Mapping[str, Any]) -> None:
    """Say how to see the rest of a list."""
    if page.get("has_more"):
        say(f"… more: --all, or --after {page['next']}")


def named(given: list[str] | None, option: str = "--metadata") -> dict[str, str]:
    """`key=value` pairs as one mapping. Raises `Stop` for what is not a pair."""
    found = {}
    for pair in given or ():
        name, separator, value = pair.partition("=")
        if not name or not separator:
            raise Stop(f"{option} {pair!r}: write key=value", USAGE)
        found[name] = value
    return found
