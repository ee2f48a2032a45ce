"""`sandbox`: play the providers on this machine; `subscriber` (hidden): receive events and check their signatures."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.stopping import run
from service.cli.terminal import FAILED, Json, Stop, say, show

if TYPE_CHECKING:
    from service.sandbox.jobs import Knobs
    from service.sandbox.requestlog import RequestLog
    from service.sandbox.rules import Scope
    from service.sandbox.subscriber import Subscriber
    from service.sandbox.world import World

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]

SPEAKS = ("cloudsway", "ulazai", "ulazai-2.6", "acedata", "apiinone")
CONTROLS = ("ledger", "jobs", "requests", "script", "knobs", "rules", "accounts", "reset")
FOR = "For all, or CONTRACT:VALUE, @KEY:VALUE, CONTRACT@KEY:VALUE; repeatable."

Switch = list[str] | None
Scoped = Mapping["Scope", Mapping[str, object]]


def sandbox(
    host: Host = "127.0.0.1",
    port: Port = 8090,
    job_seconds: Annotated[float, typer.Option(min=0, max=86400, help="How long a job takes.")] = 2.0,
    by_hand: Annotated[
        bool, typer.Option("--by-hand", help="Jobs move only when told to, over /_sandbox/jobs.")
    ] = False,
    api_key: Annotated[
        str | None, typer.Option(envvar="SANDBOX_API_KEY", show_default=False, help="The one key it takes; else any.")
    ] = None,
    credits: Annotated[Switch, typer.Option(help=f"What an account may spend in all. {FOR}")] = None,
    concurrency: Annotated[Switch, typer.Option(help=f"Open jobs of an account. {FOR}")] = None,
    rate: Annotated[Switch, typer.Option(help=f"Creates of an account, as 1/s or 24/h. {FOR}")] = None,
    query_rate: Annotated[Switch, typer.Option(help=f"Queries of an account. {FOR}")] = None,
    faults: Annotated[Switch, typer.Option(help=f'Directives for every create: "no-push,seconds=1". {FOR}')] = None,
    query_faults: Annotated[Switch, typer.Option(help=f"Directives for every query. {FOR}")] = None,
    webhook_secret: Annotated[
        str | None,
        typer.Option(
            envvar="SANDBOX_WEBHOOK_SECRET", show_default=False, help="whsec_…: Cloudsway's pushes are signed."
        ),
    ] = None,
    apiinone_replies: Annotated[
        str, typer.Option(help="Generation of API in One's replies: early, later or newest.")
    ] = "later",
    log_requests: Annotated[
        Path | None,
        typer.Option(show_default=False, help="Add every request with its body to this file, secrets masked."),
    ] = None,
    hostile: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            show_default=False,
            help="Also misbehave as a subscriber, each path of this port a case; 0 takes a free one.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Play the providers: same requests, replies, pushes and faults, nothing is paid. Ends at Ctrl-C.

    A prompt may order misbehaviour: "a paper boat \\[sandbox: no-push, seconds=0.5]".
    """
    switches = {
        "credits": credits,
        "concurrency_limit": concurrency,
        "rate": rate,
        "query_rate": query_rate,
        "faults": faults,
        "query_faults": query_faults,
    }
    plain = {
        "api_key": api_key,
        "job_seconds": None if by_hand else job_seconds,
        "webhook_secret": webhook_secret,
        "apiinone_replies": apiinone_replies,
    }
    run(_play("sandbox", _world(plain, switches), host, port, json, _log(log_requests), hostile))


def _world(plain: Mapping[str, object], switches: Mapping[str, Switch]) -> World:
    """A world of these switches, or a line that says which of them is wrong."""
    from service.sandbox.rules import BadRule
    from service.sandbox.world import World

    try:
        knobs, rules = _sorted(plain, switches)
        return World(knobs, rules=rules)
    except BadRule as error:
        raise Stop(f"sandbox: {error}") from None


def _sorted(plain: Mapping[str, object], switches: Mapping[str, Switch]) -> tuple[Knobs, Scoped]:
    """What is for all goes to the knobs, the rest to its scope."""
    from service.sandbox.jobs import Knobs
    from service.sandbox.rules import Scope, scoped, turned

    rules: dict[Scope, dict[str, object]] = {}
    for name, values in switches.items():
        read: Callable[[str], object] = _count if name in ("credits", "concurrency_limit") else str
        for text in values or ():
            scope, value = scoped(text)
            rules.setdefault(scope, {})[name] = read(value)
    return turned(Knobs(), {**plain, **rules.pop(Scope(), {})}), rules


def _count(text: str) -> object:
    return int(text) if text.isdecimal() else text  # what is no number is refused by name


def _log(path: Path | None) -> RequestLog | None:
    from service.sandbox.requestlog import RequestLog

    try:
        return None if path is None else RequestLog(path)
    except OSError as error:
        raise Stop(f"sandbox: cannot write {path}: {error.strerror or error}", FAILED) from None


def subscriber(
    host: Host = "127.0.0.1",
    port: Port = 8091,
    secret: Annotated[
        str, typer.Option(envvar="SUBSCRIBER_SECRET", show_default=False, help="whsec_…; also PUT /_secret.")
    ] = "",
    json: Json = False,
) -> None:
    """Receive events at any path and check their signatures with the published standardwebhooks package."""
    from service.sandbox.subscriber import Subscriber

    try:
        listener = Subscriber(*([secret] if secret else []))
    except RuntimeError as error:
        raise Stop(f"subscriber: {error}") from None
    except ValueError:
        raise Stop("subscriber: --secret is not one; it looks like whsec_ and base64") from None
    run(_play("subscriber", listener, host, port, json))


async def _play(
    name: str,
    played: World | Subscriber,
    host: str,
    port: int,
    json: bool,
    log: RequestLog | None = None,
    hostile: int | None = None,
) -> None:
    async with AsyncExitStack() as ending:
        if log is not None:
            ending.enter_context(log)
        facts: dict[str, object] = {}
        if hostile is not None:
            facts["hostile"] = await _misbehave(ending, host, hostile)
        await _serve(name, played, host, port, json, log, facts)


async def _misbehave(ending: AsyncExitStack, host: str, port: int) -> Mapping[str, str]:
    """Be the hostile subscriber until the end; returns where each case is."""
    from service.sandbox.hostile import Hostile

    hostile = Hostile()
    try:
        await hostile.start(host, port)
    except OSError as error:
        raise Stop(
            f"sandbox: cannot listen on {host}:{port}: {error.strerror or error}. Another port: --hostile 0", FAILED
        ) from None
    await ending.enter_async_context(hostile)
    return hostile.urls


async def _serve(
    name: str,
    played: World | Subscriber,
    host: str,
    port: int,
    json: bool,
    log: RequestLog | None,
    more: Mapping[str, object],
) -> None:
    from service.sandbox.serve import serve

    try:
        served = await serve(played, host, port, log=log)
    except OSError as error:
        raise Stop(
            f"{name}: cannot listen on {host}:{port}: {error.strerror or error}. Another port: --port 0", FAILED
        ) from None
    facts = {"ready": name, "pid": os.getpid(), "url": served.url, **_doors(name, served.url), **more}
    if json:
        show(facts)
    else:
        say("\n".join(_lines(name, facts)))
    await served.until_signal()


def _doors(name: str, url: str) -> dict[str, object]:
    if name == "sandbox":
        return {"speaks": list(SPEAKS), "control": {door: f"{url}/_sandbox/{door}" for door in CONTROLS}}
    return {"received": f"{url}/_received", "secret": f"{url}/_secret"}


def _lines(name: str, facts: Mapping[str, object]) -> list[str]:
    """The ready lines for a person: what it is and what can be asked of it."""
    if name != "sandbox":
        return [
            f"subscriber on {facts['url']} (any path)   PUT {facts['secret']} to trust a secret",
            f"  received   {facts['received']}",
        ]
    return [
        f"sandbox on {facts['url']}   speaks {', '.join(SPEAKS)}; nothing is paid. Ctrl-C ends it",
        f"  to use it  TASKRELAY_ACCOUNTS__CLOUDSWAY__BASE_URL={facts['url']} "
        "TASKRELAY_EGRESS__ALLOW=127.0.0.0/8 TASKRELAY_EGRESS__PORTS=*",
        "             and the same for ULAZAI, ACEDATA, APIINONE, each with an API_KEY of any text",
        *(f"  {door:9}  {facts['url']}/_sandbox/{door}" for door in CONTROLS),
        *_hostile_lines(facts.get("hostile")),
    ]


def _hostile_lines(urls: object) -> list[str]:
    if not isinstance(urls, dict):
        return []
    origin, _, _ = str(urls["ok"]).rpartition("/")
    apart = [name for name, url in urls.items() if not url.startswith(origin + "/")]
    return [
        f"  hostile    {origin}/CASE; GET {origin}/ lists them, {origin}/_authority signs for TLS. On ports of their own:",
        *(f"  {name:15}  {urls[name]}" for name in apart),
    ]
