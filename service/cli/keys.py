"""`keys`: make, list and revoke API keys, on a stopped or a serving database, or over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from service.cli.lists import After, All, Limit, more
from service.cli.tenants import Remote, RemoteKey, asked, page_of
from service.cli.terminal import Json, columns, say, show

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys, on a stopped or a serving database.")

Project = Annotated[
    str | None, typer.Option(help="A project's name or id; by default the first one.", show_default=False)
]


@app.command("create")
def create(
    name: Annotated[str, typer.Option("--name", help="What you will recognise it by.", show_default=False)],
    scope: Annotated[
        list[str],
        typer.Option("--scope", help="tasks, endpoints, read or admin; as often as needed.", show_default=False),
    ],
    project: Project = None,
    url: Remote = None,
    key: RemoteKey = "",
    json: Json = False,
) -> None:
    """Make a key and show it, once: only a digest of it is kept."""
    scopes = [part for one in scope for part in one.replace(",", " ").split()]
    body = {"name": name, "scopes": scopes, **({"project": project} if project is not None else {})}
    made = asked(
        "keys",
        url,
        key,
        here=lambda own: own.make_key(name=name, scopes=scopes, project=project),
        there=lambda api: api.create("/v1/keys", body),
    )
    if json:
        show(made)
        return
    say(f"{made['key']}")
    say(f"  {made['id']}  {name}   scopes {', '.join(made['scopes'])}   project {made['project']}")
    say("  Shown once. To use it here: export TASKRELAY_KEY=…")


@app.command("list")
def list_keys(
    project: Annotated[
        str | None, typer.Option(help="Of this project alone, by its name or id.", show_default=False)
    ] = None,
    limit: Limit = 50,
    after: After = None,
    all_of_them: All = False,
    url: Remote = None,
    key: RemoteKey = "",
    json: Json = False,
) -> None:
    """List keys, newest first, revoked ones too. Of each its beginning, what it may do and when it was used last."""
    page = page_of(
        "keys", url, key, "/v1/keys", {"project": project},
        lambda own, most, start: own.keys(project=project, limit=most, after=start),
        limit=limit, after=after, all_of_them=all_of_them, quiet=json,
    )  # fmt: skip
    if json:
        show(page)
        return
    columns(
        [_row(one) for one in page["data"]],
        head=("KEY", "BEGINS", "NAME", "PROJECT", "SCOPES", "LAST USED", "REVOKED"),
    )
    more(page)


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    used, revoked = one["last_used_at"], one["revoked_at"]
    return (
        one["id"],
        one["prefix"],
        one["name"],
        one["project"],
        ",".join(one["scopes"]),
        f"{used[:16]}Z" if used else "never",
        f"{revoked[:19]}Z" if revoked else None,
    )


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEY", help="Its id, key_…", show_default=False)],
    last_admin: Annotated[
        bool, typer.Option("--last-admin", help="Also if it is the last one with the scope admin.")
    ] = False,
    url: Remote = None,
    key: RemoteKey = "",
    json: Json = False,
) -> None:
    """Revoke a key for good: it opens nothing from the next request on. Once more changes nothing."""
    query = "?last_admin=true" if last_admin else ""

    def there(api: Any) -> Any:
        api.delete(f"/v1/keys/{key_id}{query}")
        return {"object": "key", "id": key_id, "revoked": True}

    gone = asked("keys", url, key, here=lambda own: own.revoke_key(key_id, last_admin=last_admin), there=there)
    show(gone) if json else say(f"{key_id}  is revoked and opens nothing any more")
