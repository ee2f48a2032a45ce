"""`tasks resolve`: settle purchases whose fate is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from service.cli.client import HERE, Api, Key, Url
from service.cli.lists import Filter
from service.cli.task_lines import id_of, task_lines
from service.cli.terminal import USAGE, Json, Stop, console, say, show


class Action(StrEnum):
    """What may be said of a purchase whose fate is unknown."""

    ADOPT = "adopt"
    RESUBMIT = "resubmit"
    ABANDON = "abandon"


def resolve(
    action: Annotated[Action, typer.Option(help="What is to be done.", show_default=False)],
    task: Annotated[
        str | None,
        typer.Argument(
            metavar="[TASK]", help="Its id or reference; without one, those of the filters.", show_default=False
        ),
    ] = None,
    provider_task_id: Annotated[str | None, typer.Option(help="With adopt: the job's id.", show_default=False)] = None,
    possible_double_charge: Annotated[
        bool,
        typer.Option(
            "--possible-double-charge", help="With resubmit: accept that it may be bought twice, also past the budget."
        ),
    ] = False,
    status: Filter = None,
    provider: Filter = None,
    account: Filter = None,
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """Settle purchases whose fate is unknown: adopt the job you know, send once more, or give up."""
    if action is Action.RESUBMIT and not possible_double_charge:
        raise Stop(
            "resubmit may buy a second time, also past the project's budget. To accept that: --possible-double-charge",
            USAGE,
        )
    filters = {"status": status, "provider": provider, "account": account}
    wanted = {name: value for name, value in filters.items() if value}
    if bool(task) == bool(wanted):
        raise Stop("name one task, or say which with --status, --provider or --account", USAGE)
    order: dict[str, Any] = {"action": action.value}
    if possible_double_charge:
        order["possible_double_charge"] = True
    if provider_task_id is not None:
        order["provider_task_id"] = provider_task_id
    with Api(url, key) as api:
        many = None if task else _resolve_all(api, {**order, "filter": wanted})
        found = many or api.post(f"/v1/tasks/{id_of(api, task or '')}/resolve", order)
    if json:
        show(found)
    else:
        say("\n".join(task_lines(found)) if task else f"{action.value}: {found['count']} tasks")


def _resolve_all(api: Api, order: Mapping[str, Any]) -> dict[str, Any]:
    """The word about all, request by request, because each looks at so many only."""
    count, after = 0, None
    with console(stderr=True).status("Settling …") as status:
        while True:
            page = api.post("/v1/tasks/resolve", order, {"after": after})
            count, after = count + page["count"], page["next"]
            status.update(f"Settling … {count:,} tasks")
            if after is None:
                return {**page, "count": count}
