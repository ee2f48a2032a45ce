"""`projects`: tenants of this taskrelay, on a stopped or a serving database, or over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any

import typer

from service.cli.lists import After, All, Limit, more
from service.cli.tenants import Remote, RemoteKey, asked, page_of, project_id
from service.cli.terminal import USAGE, Json, Stop, columns, say, show

app = typer.Typer(
    no_args_is_help=True, help="Tenants: who owns which tasks, endpoints and keys, and what they may spend."
)


class OnAmbiguous(StrEnum):
    """What happens by itself to a purchase whose fate is unknown."""

    HOLD = "hold"
    RESUBMIT = "resubmit"


class Bound(StrEnum):
    """What can be taken away."""

    BUDGET = "budget"
    MAX_OPEN_TASKS = "max_open_tasks"


Name = Annotated[str, typer.Argument(metavar="PROJECT", help="Its name or id, or current.", show_default=False)]
Policy = Annotated[
    OnAmbiguous | None,
    typer.Option(help="What happens by itself to a purchase whose fate is unknown.", show_default=False),
]
Accepted = Annotated[
    bool,
    typer.Option(
        "--possible-double-charge", help="With --on-ambiguous resubmit: both may be charged, also past the budget."
    ),
]
Money = Annotated[
    str | None,
    typer.Option(
        "--budget", metavar="AMOUNT CURRENCY PERIOD", help='Such as "50.00 USD month" or "200 USD total".',
        show_default=False,
    ),
]  # fmt: skip
MaxOpen = Annotated[
    int | None, typer.Option("--max-open-tasks", min=1, help="Tasks that may be open at once.", show_default=False)
]


@app.command("create")
def create(
    name: Annotated[str, typer.Option("--name", help="What it is called; unique.", show_default=False)],
    on_ambiguous: Policy = None,
    possible_double_charge: Accepted = False,
    budget: Money = None,
    max_open_tasks: MaxOpen = None,
    url: Remote = None,
    key: RemoteKey = "",
    json: Json = False,
) -> None:
    """Make a project. The secret that signs events to a task's own webhook_url is shown with it."""
    body = {"name": name, **_body(on_ambiguous, possible_double_charge, budget, max_open_tasks)}
    made = asked(
        "projects",
        url,
        key,
        here=lambda own: own.make_project(body),
        there=lambda api: api.create("/v1/projects", body),
    )
    if json:
        show(made)
        return
    say("\n".join(_page(made)))
    say(f"  secret       {made['webhook_secret']}")
    say(f"  Then a key:  taskrelay keys create --project {made['id']} --name … --scope tasks")


@app.command("list")
def list_projects(
    limit: Limit = 50,
    after: After = None,
    all_of_them: All = False,
    url: Remote = None,
    key: RemoteKey = "",
    json: Json = False,
) -> None:
    """List projects, newest first."""
    page = page_of(
        "projects", url, key, "/v1/projects", {}, lambda own, most, start: own.projects(limit=most, after=start),
        limit=limit, after=after, all_of_them=all_of_them, quiet=json,
    )  # fmt: skip
    if json:
        show(page)
        return
    columns([_row(one) for one in page["data"]], head=("PROJECT", "NAME", "BUDGET", "OPEN AT MOST", "IN DOUBT"))
    more(page)


@app.command("show")
def show_project(project: Name = "current", url: Remote = None, key: RemoteKey = "", json: Json = False) -> None:
    """Show one project: its policy, and what it may spend and has spent."""
    found = asked(
        "projects",
        url,
        key,
        here=lambda own: own.project(project),
        there=lambda api: api.get(f"/v1/projects/{project_id(api, project)}"),
    )
    show(found) if json else say("\n".join(_page(found)))


@app.command("update")
def update(
    project: Name,
    name: Annotated[str | None, typer.Option("--name", help="A new name.", show_default=False)] = None,
    on_ambiguous: Policy = None,
    possible_double_charge: Accepted = False,
    budget: Money = None,
    max_open_tasks: MaxOpen = None,
    no: Annotated[
        list[Bound] | None, typer.Option("--no", help="Take this bound away; as often as needed.", show_default=False)
    ] = None,
    url: Remote = None,
    key: RemoteKey = "",
    json: Json = False,
) -> None:
    """Change what is given; the rest stays. A policy holds for tasks made from then on."""
    body = _body(on_ambiguous, possible_double_charge, budget, max_open_tasks)
    body |= {"name": name} if name is not None else {}
    body |= dict.fromkeys(no or ())
    if not body:
        raise Stop("projects: say what to change, such as --name or --budget", USAGE)
    changed = asked(
        "projects",
        url,
        key,
        here=lambda own: own.change_project(project, body),
        there=lambda api: api.patch(f"/v1/projects/{project_id(api, project)}", body),
    )
    show(changed) if json else say("\n".join(_page(changed)))


@app.command("rotate-secret")
def rotate_secret(
    project: Name,
    overlap: Annotated[
        int | None,
        typer.Option(
            "--overlap-seconds", min=0, max=7 * 86_400, help="How long the old one signs too; a day by default.",
            show_default=False,
        ),
    ] = None,
    url: Remote = None,
    key: RemoteKey = "",
    json: Json = False,
) -> None:  # fmt: skip
    """Put a new secret in force for events to a task's own webhook_url. The old one signs beside it for a while."""
    body = {} if overlap is None else {"overlap_seconds": overlap}
    made = asked(
        "projects",
        url,
        key,
        here=lambda own: own.rotate_secret(project, overlap_seconds=overlap),
        there=lambda api: api.create(f"/v1/projects/{project_id(api, project)}/rotate", body),
    )
    if json:
        show(made)
        return
    say(f"{made['webhook_secret']}")
    say(f"  signs for {made['name']} from now on; the old one too until {made['old_secret_retires_at']}")


@app.command("delete")
def delete(project: Name, url: Remote = None, key: RemoteKey = "", json: Json = False) -> None:
    """Delete a project that holds nothing but revoked keys and settings."""

    def there(api: Any) -> Any:
        id = project_id(api, project)
        api.delete(f"/v1/projects/{id}")
        return {"object": "project", "id": id, "deleted": True}

    gone = asked("projects", url, key, here=lambda own: own.delete_project(project), there=there)
    show(gone) if json else say(f"{gone['id']}  is gone")


def _body(
    on_ambiguous: OnAmbiguous | None, accepted: bool, budget: str | None, max_open_tasks: int | None
) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if on_ambiguous is not None:
        body["on_ambiguous"] = str(on_ambiguous)
    if accepted:
        body["possible_double_charge"] = True
    if budget is not None:
        parts = budget.split()
        if len(parts) != 3:
            raise Stop(f'projects: --budget {budget!r}: write it as "50.00 USD month" or "50.00 USD total"', USAGE)
        body["budget"] = dict(zip(("amount", "currency", "period"), parts, strict=True))
    if max_open_tasks is not None:
        body["max_open_tasks"] = max_open_tasks
    return body


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    return one["id"], one["name"], _money(one.get("budget")), one.get("max_open_tasks"), one["on_ambiguous"]


def _money(budget: dict[str, Any] | None) -> str | None:
    if budget is None:
        return None
    used = f", {budget['used']} used" if budget.get("used") is not None else ""
    return (
        f"{budget['amount']} {budget['currency']} a month{used}"
        if budget["period"] == "month"
        else (f"{budget['amount']} {budget['currency']} in all{used}")
    )


def _page(one: dict[str, Any]) -> Iterator[str]:
    yield f"{one['id']}  {one['name']}"
    yield f"  in doubt     {one['on_ambiguous']}"
    yield f"  budget       {_money(one.get('budget')) or 'none'}"
    yield f"  open tasks   {'at most ' + str(one['max_open_tasks']) if one.get('max_open_tasks') else 'no bound'}"
    yield f"  made         {one['created_at']}"
