"""`accounts`: how the credentials at providers do; stop their purchases, let them go on, ask whether the key is taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from service.cli.client import HERE, Api, Key, Url
from service.cli.terminal import FAILED, Json, columns, say, show

app = typer.Typer(no_args_is_help=True, help="How the credentials at providers do; pause, resume and check one.")

Name = Annotated[str, typer.Argument(metavar="ACCOUNT", help="Its name, as configured.", show_default=False)]


@app.command("list")
def list_accounts(url: Url = HERE, key: Key = "", json: Json = False) -> None:
    """List every configured account. Needs the scope read."""
    with Api(url, key) as api:
        page = api.get("/v1/accounts")
    if json:
        show(page)
        return
    columns(
        [_row(one) for one in page["data"]],
        head=("ACCOUNT", "PROVIDER", "STATUS", "QUEUED", "OPEN", "RATE", "BREAKER", "PUSHES 24 H", "LAST ERROR"),
    )


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    if not one["enabled"]:
        return one["name"], one["provider"], one["status"], None, None, None, None, None, None
    error = one["last_error"]
    return (
        one["name"],
        one["provider"],
        _status(one),
        one["queued"],
        f"{one['open_tasks']}/{one['max_open_tasks']}",
        f"{one['rate']:g}/s",
        one["breaker"]["state"],
        _pushes(one["callbacks"]),
        f"{error['at'][:19]}Z {error['code']}" if error else None,
    )


def _status(one: dict[str, Any]) -> str:
    causes = ", ".join(pause["cause"] for pause in one["paused"])
    return f"{one['status']} ({causes})" if causes else str(one["status"])


def _pushes(callbacks: dict[str, Any]) -> str:
    if not callbacks["pushes"]:
        return "polled"
    day = callbacks["day"]
    return f"{day['seen']}/{day['expected']}" + (" MISSING" if callbacks["missing_since"] else "")


@app.command("get")
def get(account: Name, url: Url = HERE, key: Key = "", json: Json = False) -> None:
    """Show one account: what is open, what it was told, how long its jobs take. Needs the scope read."""
    with Api(url, key) as api:
        found = api.get(f"/v1/accounts/{account}")
    show(found) if json else say("\n".join(_page(found)))


@app.command("pause")
def pause(account: Name, url: Url = HERE, key: Key = "", json: Json = False) -> None:
    """Buy nothing through it until it is resumed; queries, pushes and deliveries go on. Needs the scope admin."""
    _order(account, "pause", url, key, json)


@app.command("resume")
def resume(account: Name, url: Url = HERE, key: Key = "", json: Json = False) -> None:
    """Let it buy again, after a pause or once a refused key or balance is in order. Needs the scope admin."""
    _order(account, "resume", url, key, json)


def _order(account: str, order: str, url: str, key: str, json: bool) -> None:
    with Api(url, key) as api:
        found = api.post(f"/v1/accounts/{account}/{order}")
    show(found) if json else say("\n".join(_page(found)))


@app.command("check")
def check(account: Name, url: Url = HERE, key: Key = "", json: Json = False) -> None:
    """Ask its provider one free question: is it there, does it take the key. Exits 1 if not. Needs the scope admin."""
    with Api(url, key) as api:
        found = api.post(f"/v1/accounts/{account}/check")
    if json:
        show(found)
    else:
        say(f"{account}  credentials {found['credentials']}, {'reached' if found['reachable'] else 'not reached'}")
        say(f"  answer     {found['status_code'] or '-'} in {found['latency_ms']} ms")
        if found["clock_difference_seconds"] is not None:
            say(f"  clock      {found['clock_difference_seconds']:+d} s against ours")
        if found["detail"]:
            say(f"  said       {found['detail']}")
    if found["credentials"] != "accepted":
        raise typer.Exit(FAILED)


def _page(one: dict[str, Any]) -> Iterator[str]:
    yield f"{one['name']}  {_status(one)}  {one['provider']}"
    for pause in one["paused"]:
        why = pause["reason"] or "until somebody resumes it"
        yield f"  paused     since {pause['since']} by {pause['cause']}: {why}"
    if not one["enabled"]:
        yield f"  off        TASKRELAY_ACCOUNTS__{one['name'].upper()}__ENABLED=true and a start switch it on"
        return
    yield f"  tasks      {one['queued']} queued, {one['open_tasks']} of at most {one['max_open_tasks']} open at the provider"
    yield f"  rate       {one['rate']:g}/s, breaker {one['breaker']['state']}, next due {one['next_due_at'] or '-'}"
    for kind, held in one["held"].items():
        if held:
            yield f"  held       {kind} until {held['until']}: {held['reason'] or 'the provider asked us to wait'}"
    callbacks = one["callbacks"]
    if callbacks["pushes"]:
        spans = ", ".join(f"{span} {callbacks[span]['seen']}/{callbacks[span]['expected']}" for span in ("day", "week"))
        missing = f"; MISSING since {callbacks['missing_since']}" if callbacks["missing_since"] else ""
        yield f"  pushes     {callbacks['mode']}, seen of expected: {spans}{missing}"
    else:
        yield f"  pushes     none, polled ({callbacks['mode']})"
    if error := one["last_error"]:
        yield f"  last error {error['at']} {error['code']}: {error['message']}"
    for took in one["durations"]:
        kind = " ".join(str(part) for part in (took["model"], took["duration"], took["level"]) if part)
        yield f"  takes      {kind}: p10 {took['p10']:g} s, p50 {took['p50']:g} s, p90 {took['p90']:g} s of {took['jobs']} jobs"
