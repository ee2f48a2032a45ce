"""`endpoints test`, `pause`, `resume`, `secret`, `rotate`, `stats`, `replay`: how an endpoint's owner looks after it.

Secrets are shown by `endpoints create` and `endpoints secret`, and by nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from service.cli.client import HERE, Api, Key, Url
from service.cli.deliveries import delivery_lines
from service.cli.progress import counting
from service.cli.subscription import SecretFile, endpoint_lines, secret_in
from service.cli.terminal import FAILED, OK, Json, say, show
from service.cli.when import Since, instant

EndpointId = Annotated[str, typer.Argument(metavar="ENDPOINT", help="Its id, ep_…", show_default=False)]
LOOK_EVERY_SECONDS = 0.2


class Which(StrEnum):
    """What can be sent again."""

    MISSING = "missing"  # what it wants and was never owed
    FAILED = "failed"  # what was given up


def test(
    endpoint: EndpointId,
    type: Annotated[
        str | None,
        typer.Option(help="Any type of taskrelay event-types; by default task.succeeded.", show_default=False),
    ] = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the answer.")] = 20.0,
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """Send a signed sample and say what came of it; exit 1 unless it was taken."""
    with Api(url, key) as api:
        sent = api.create(f"/v1/endpoints/{endpoint}/test", {"type": type} if type is not None else {})
        until = time.monotonic() + wait
        while sent["status"] == "pending" and time.monotonic() < until:
            time.sleep(LOOK_EVERY_SECONDS)
            sent = api.get(f"/v1/deliveries/{sent['id']}")
    if json:
        show(sent)
    else:
        say("\n".join(delivery_lines(sent)))
    raise typer.Exit(OK if sent["status"] == "delivered" else FAILED)


def pause(endpoint: EndpointId, url: Url = HERE, key: Key = "", json: Json = False) -> None:
    """Send it nothing for now; what happens is kept for it."""
    with Api(url, key) as api:
        found = api.post(f"/v1/endpoints/{endpoint}/pause")
    _tell(found, json)


def resume(endpoint: EndpointId, url: Url = HERE, key: Key = "", json: Json = False) -> None:
    """Send to it again, also after it was disabled."""
    with Api(url, key) as api:
        found = api.post(f"/v1/endpoints/{endpoint}/resume")
    _tell(found, json)
    if found.get("missed_since") and not json:
        again = f"taskrelay endpoints replay {endpoint} --which missing --since {found['missed_since']}"
        say(f"  missed     what happened since {found['missed_since']}. To send it: {again}")


def secret(endpoint: EndpointId, url: Url = HERE, key: Key = "", json: Json = False) -> None:
    """Show the secret that signs now, and until when older ones sign beside it."""
    with Api(url, key) as api:
        found = api.get(f"/v1/endpoints/{endpoint}/secret")
    if json:
        show(found)
        return
    say(found["secret"])
    for old in found["retiring"]:
        say(f"  one of {old['created_at']} signs too until {old['retires_at']}")


def rotate(
    endpoint: EndpointId,
    overlap_seconds: Annotated[
        int | None, typer.Option(min=0, help="How long the old one signs too; by default a day.", show_default=False)
    ] = None,
    secret_file: SecretFile = None,
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """Sign with a new secret. It is not shown here: taskrelay endpoints secret does."""
    body = {"overlap_seconds": overlap_seconds} if overlap_seconds is not None else {}
    with Api(url, key) as api:
        found = api.create(f"/v1/endpoints/{endpoint}/rotate", {**body, **secret_in(secret_file)})
    if json:
        show({name: value for name, value in found.items() if name != "secret"})
        return
    say(f"{endpoint}  has a new secret; the old one signs too until {found['old_secret_retires_at']}")
    if secret_file is None:
        say(f"  Give it to the receiver: taskrelay endpoints secret {endpoint}")


def stats(endpoint: EndpointId, url: Url = HERE, key: Key = "", json: Json = False) -> None:
    """Show how it did in the last day."""
    with Api(url, key) as api:
        found = api.get(f"/v1/endpoints/{endpoint}/stats")
    if json:
        show(found)
    else:
        say("\n".join(stats_lines(found)))


def replay(
    endpoint: EndpointId,
    since: Since,
    which: Annotated[Which, typer.Option(help="What it never got, or what was given up.")] = Which.MISSING,
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """Send again what it missed, or what was given up, from an instant on."""
    start: str | None = instant(since)
    order = {"which": which.value}
    count = 0
    with Api(url, key) as api, counting("sending again", quiet=json) as add:
        while start is not None:
            done = api.create(f"/v1/endpoints/{endpoint}/replay", {**order, "since": start})
            count += done["count"]
            add(done["count"])
            start = done["next_since"]
    if json:
        show({**done, "since": instant(since), "count": count})
    else:
        say(f"{endpoint}  {count} {which.value} deliveries made due")


def stats_lines(stats: Mapping[str, Any]) -> list[str]:
    """The figures for a person."""
    share = stats["success_rate"]
    took = stats["duration_ms"]
    failed = ", ".join(f"{name} {count}" for name, count in stats["failures"].items())
    facts = {
        "attempts": stats["attempts"],
        "succeeded": f"{stats['succeeded']}  ({share:.2%})" if share is not None else None,
        "failed": failed,
        "took": f"p50 {took['p50']} ms, p95 {took['p95']} ms" if took["p50"] is not None else None,
        "backlog": stats["backlog"],
        "oldest": stats.get("oldest_pending_at"),
        "next": stats["next_attempt_at"],
    }
    head = f"{stats['endpoint']}  since {stats['since']}"
    return [head, *(f"  {name:9}  {fact}" for name, fact in facts.items() if fact not in (None, ""))]


def _tell(endpoint: Mapping[str, Any], json: bool) -> None:
    if json:
        show(endpoint)
    else:
        say("\n".join(endpoint_lines(endpoint)))


def add_to(app: typer.Typer) -> None:
    """The commands, among those of `endpoints`."""
    for command in (test, pause, resume, secret, rotate, stats, replay):
        app.command(command.__name__)(command)
