"""`audit`: is anything missing? What is owed and bought, held against what is there; and who ordered what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from json import dumps
from typing import Any

import typer

from service.cli.client import HERE, Api, Key, Url
from service.cli.lists import After, All, Filter, Limit, listed, more
from service.cli.terminal import FAILED, Json, columns, console, say, show
from service.cli.when import MaybeSince, maybe_instant

app = typer.Typer(help="Is anything missing? Exit 1 when something is that nobody can explain.")

SHOWN = 1_000  # findings; where there are more, these say enough

# The ledger, top to bottom: (count, what it says). A line that begins with two spaces is a part of the one above.
LEDGER: tuple[tuple[str, str], ...] = (
    ("events", "events"),
    ("ends", "  ends of tasks"),
    ("owed", "owed to those subscribed then"),
    ("delivered", "  delivered"),
    ("pending", "  pending"),
    ("exhausted", "  exhausted"),
    ("canceled", "  canceled"),
    ("quarantined", "  quarantined"),
    ("missing", "  missing"),
    ("besides", "sent besides, by replay"),
    ("tasks", "tasks"),
    ("ended", "  ended"),
    ("open", "  open"),
    ("jobs", "jobs known"),
    ("bound", "  of a task"),
    ("surplus", "  too many, on a task's bill"),
    ("adrift", "  of no task"),
    ("orphans", "pushes nobody owns"),
    ("unexplained", "unexplained"),
    ("unknown", "cannot be judged any more"),
)


@app.callback(invoke_without_command=True)
def audit(
    context: typer.Context,
    since: MaybeSince = None,
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """Hold what is owed and bought against what is there. Exit 1 when something is that nobody can explain."""
    if context.invoked_subcommand is not None:
        return
    start = maybe_instant(since, "--since")
    with Api(url, key) as api:
        found = _whole(api, start, quiet=json)
    if json:
        show(found)
    else:
        tell(found)
    if found["counts"]["unexplained"]:
        raise typer.Exit(FAILED)


@app.command("log")
def log(
    task: Filter = None,
    endpoint: Filter = None,
    limit: Limit = 50,
    after: After = None,
    every: All = False,
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """Show who ordered what, newest first."""
    with Api(url, key) as api:
        wanted = {"task": task, "endpoint": endpoint}
        page = listed(api, "/v1/audit/log", wanted, limit=limit, after=after, whole=every, quiet=json)
    if json:
        show(page)
        return
    rows = [
        (one["at"], one["action"], one["task"] or one["endpoint"], ordered_by(one), _detail(one["detail"]))
        for one in page["data"]
    ]
    columns(rows, head=("AT", "ACTION", "OF", "BY", "DETAIL"))
    more(page)


def _whole(api: Api, since: str | None, *, quiet: bool) -> dict[str, Any]:
    """Stretch after stretch, because a request looks at a few thousand rows only."""
    with console(stderr=True).status("Looking …") as status:
        if quiet:
            status.stop()
        whole = api.get("/v1/audit", {"since": since})
        while (after := whole.pop("next")) is not None:
            status.update(f"Looking … {whole['counts']['events']:,} events, {whole['counts']['tasks']:,} tasks")
            added(whole, api.get("/v1/audit", {"since": since, "after": after}))
    del whole["has_more"]
    return dict(whole)


def added(whole: dict[str, Any], part: Mapping[str, Any]) -> None:
    """One more stretch to the sum."""
    counts = Counter({name: count for name, count in whole["counts"].items() if count is not None})
    counts.update({name: count for name, count in part["counts"].items() if count is not None})
    whole["counts"] = {name: None if part["counts"][name] is None else counts[name] for name in whole["counts"]}
    whole["next"] = part["next"]
    known = [at for at in (whole["next_attempt_at"], part["next_attempt_at"]) if at is not None]
    whole["next_attempt_at"] = min(known, default=None)
    for kind in ("unexplained", "unknown"):
        whole[kind] += part[kind][: SHOWN - len(whole[kind])]


def tell(found: Mapping[str, Any]) -> None:
    """The ledger, then what is wrong."""
    counts = found["counts"]
    say(f"since {found['since']}" if found["since"] else "from the beginning")
    width = max(len(f"{count:,}") for count in counts.values() if count is not None)
    for name, what in LEDGER:
        count = counts[name]
        told = "(needs a key with scope admin)" if count is None else f"{count:>{width},}"
        if name == "pending" and found["next_attempt_at"]:
            told += f"   next attempt {found['next_attempt_at']}"
        say(f"  {what:31} {told}")
    for kind in ("unexplained", "unknown"):
        for one in found[kind]:
            say(f"{kind.upper()} {one['kind']}: {one['message']}")
        if counts[kind] > len(found[kind]) > 0:
            say(f"… and {counts[kind] - len(found[kind]):,} more")
    say(_verdict(counts))


def _verdict(counts: Mapping[str, int]) -> str:
    if counts["unexplained"]:
        return f"{counts['unexplained']:,} things that nobody can explain: please report this."
    unknown = f" {counts['unknown']:,} cannot be judged any more." if counts["unknown"] else ""
    return f"Nothing is missing, as far as can be known (docs/operating.md says what cannot).{unknown}"


def ordered_by(one: Mapping[str, Any]) -> str:
    """Without a key it was somebody at the service's own machine, which the detail says, or nobody."""
    return str(one["key"] or ("the command" if one["detail"].get("by") == "command" else "a rule"))


def _detail(detail: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value if isinstance(value, str) else dumps(value)}" for name, value in detail.items())
