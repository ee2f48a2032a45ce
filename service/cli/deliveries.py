"""`deliveries`: what was sent to whom, how often, with what answer; and sending it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from service.cli.client import HERE, Api, Key, Url
from service.cli.lists import After, All, Filter, Limit, listed, more, pages
from service.cli.progress import counting
from service.cli.task_lines import next_line
from service.cli.terminal import FAILED, OK, USAGE, Json, Stop, columns, say, show, warn
from service.cli.when import MaybeSince, instant

app = typer.Typer(no_args_is_help=True, help="What was sent to whom, how often, and with what answer.")

Status = Annotated[
    str | None, typer.Option(help="pending, delivered, exhausted, canceled or quarantined.", show_default=False)
]
INACTIVE = "endpoint_inactive"


@app.command("list")
def list_deliveries(
    status: Status = None,
    task: Filter = None,
    event: Filter = None,
    endpoint: Filter = None,
    limit: Limit = 50,
    after: After = None,
    every: All = False,
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """List deliveries, newest first."""
    wanted = {"status": status, "task": task, "event": event, "endpoint": endpoint}
    with Api(url, key) as api:
        page = listed(api, "/v1/deliveries", wanted, limit=limit, after=after, whole=every, quiet=json)
    if json:
        show(page)
        return
    columns(
        [_row(one) for one in page["data"]], head=("DELIVERY", "STATUS", "TYPE", "ENDPOINT", "ATTEMPTS", "LAST", "NEXT")
    )
    more(page)


@app.command("get")
def get(
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="Its id, dlv_…", show_default=False)],
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """Show one delivery with every attempt."""
    with Api(url, key) as api:
        found = api.get(f"/v1/deliveries/{delivery}")
    if json:
        show(found)
    else:
        say("\n".join(delivery_lines(found)))


@app.command("retry")
def retry(
    delivery: Annotated[
        list[str] | None, typer.Argument(metavar="[DELIVERY]…", help="Their ids; without, those of the filters.")
    ] = None,
    status: Annotated[
        str | None, typer.Option(help="With filters: which of them; by default exhausted.", show_default=False)
    ] = None,
    task: Filter = None,
    event: Filter = None,
    endpoint: Filter = None,
    since: MaybeSince = None,
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """Send deliveries again, also those to a task's own URL: now, with the whole schedule before them."""
    filters = {"task": task, "event": event, "endpoint": endpoint}
    chosen = any([*filters.values(), since, status])
    if bool(delivery) == chosen:
        raise Stop("name deliveries, or say which with --task, --event, --endpoint, --since or --status", USAGE)
    start = instant(since) if since is not None else ""
    with Api(url, key) as api:
        if delivery:
            wanted: Sequence[Mapping[str, Any]] = [{"id": one} for one in delivery]
        else:
            wanted = list(_matching(api, {**filters, "status": status or "exhausted"}, start))
        refused = _retry_all(api, wanted, quiet=json)
    count = len(wanted) - len(refused)
    if json:
        show({"object": "retries", "count": count, "refused": refused})
    else:
        say(f"{count} deliveries made due")
        for one in refused:
            warn(f"{one['id']}  {one['detail']}")
    raise typer.Exit(FAILED if refused else OK)


def _matching(api: Api, wanted: Mapping[str, Any], start: str) -> Iterator[Mapping[str, Any]]:
    """Those that the filters find and that were made since then, newest first."""
    for page in pages(api, "/v1/deliveries", wanted):
        for one in page["data"]:
            if one["created_at"] < start:
                return
            yield one


def _retry_all(api: Api, wanted: Sequence[Mapping[str, Any]], *, quiet: bool) -> list[dict[str, Any]]:
    """Ask for each. Returns those that were refused, and why; an endpoint that is not sent to is not asked for again."""
    refused: list[dict[str, Any]] = []
    inactive: dict[str, str] = {}
    with counting("sending again", len(wanted), quiet=quiet) as add:
        for number, one in enumerate(wanted):
            try:
                if (why := inactive.get(one.get("endpoint", ""))) is None:
                    api.create(f"/v1/deliveries/{one['id']}/retry")
                else:
                    refused.append({"id": one["id"], "detail": why})
            except Stop as stop:
                if stop.code != FAILED:
                    raise Stop(
                        f"{stop.text}\n    {number - len(refused)} were made due before that", stop.code
                    ) from None
                refused.append({"id": one["id"], "detail": stop.text})
                if (stop.facts or {}).get("code") == INACTIVE and one.get("endpoint"):
                    inactive[one["endpoint"]] = stop.text
            add(1)
    return refused


def delivery_lines(one: Mapping[str, Any]) -> list[str]:
    """A delivery for a person: whose it is, each attempt, and what comes next."""
    lines = [f"{one['id']}  {one['status']}  {one['event_type']}"]
    facts = {
        "event": one["event"],
        "task": one.get("task"),
        "endpoint": "   ".join(part for part in (one["endpoint"], one.get("origin")) if part),
        "next": next_line(one.get("next") or {}) or one.get("next_attempt_at"),
    }
    lines += [f"  {name:9}  {fact}" for name, fact in facts.items() if fact]
    for number, attempt in enumerate(one.get("attempts") or (), 1):
        answer = f"HTTP {attempt['status_code']}" if attempt["status_code"] else attempt["error_class"] or "no answer"
        took = "" if attempt["duration_ms"] is None else f"{attempt['duration_ms']} ms  "
        lines.append(f"  attempt {number:<2} {attempt['at']}  {took}{answer}")
        if attempt.get("response_head"):
            lines += [f"             {line}" for line in attempt["response_head"].splitlines()[:5]]
    return lines


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    attempts = one.get("attempts")
    tries = attempts if isinstance(attempts, list) else []
    last = tries[-1] if tries else {}
    answer = last.get("status_code") or last.get("error_class")
    count = len(tries) if isinstance(attempts, list) else attempts
    return one["id"], one["status"], one["event_type"], one["endpoint"], count, answer, one.get("next_attempt_at")
