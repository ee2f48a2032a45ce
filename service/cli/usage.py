"""`usage`: what tasks came to, by project, account, model, day or a word of metadata."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from service.cli.client import HERE, Api, Key, Url
from service.cli.terminal import Json, columns, show
from service.cli.when import HOW, maybe_instant

Bound = Annotated[str | None, typer.Option(metavar="INSTANT", help=HOW, show_default=False)]

HEAD = ("GROUP", "TASKS", "UNIT", "CHARGED", "ESTIMATED", "OPEN", "POSSIBLE", "SURPLUS")
PARTS = ("charged", "estimated", "open", "possible", "surplus")


def usage(
    by: Annotated[str, typer.Option("--by", help="project, account, model, day or metadata.<name>.")] = "model",
    since: Bound = None,
    until: Bound = None,
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """Add up what tasks came to, exactly. Of the last 30 days, unless said otherwise."""
    span = {"since": maybe_instant(since, "--since"), "until": maybe_instant(until, "--until")}
    with Api(url, key) as api:
        found = _all(api, {"group_by": by, **span})
    if json:
        show(found)
    else:
        columns([row for group in found["data"] for row in _rows(group)], head=HEAD)


def _all(api: Api, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Every page as one; the span of the first holds for all."""
    page = api.get("/v1/usage", {**wanted, "limit": 200})
    groups = list(page["data"])
    span = {"since": page["since"], "until": page["until"]}
    while page["has_more"]:
        page = api.get("/v1/usage", {**wanted, **span, "limit": 200, "after": page["next"]})
        groups += page["data"]
    return {**page, "data": groups}


def _rows(group: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    [name] = group["group"].values()
    first: tuple[object, ...] = (name, group["tasks"]["total"])
    for cost in group["costs"]:
        yield (*first, cost["unit"], *(cost[part] for part in PARTS))
        if cost["money"] is not None:
            yield ("", "", cost["money"]["currency"], *(cost["money"][part] for part in PARTS))
        first = ("", "")
    if not group["costs"]:
        yield (*first, "", "", "", "", "", "")
    if group["unpriced"]:
        yield ("", "", f"{group['unpriced']} of unknown price", "", "", "", "", "")
