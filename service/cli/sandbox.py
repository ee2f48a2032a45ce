"""`sandbox`: play the providers on this machine; `subscriber` (hidden): receive events and check their signatures."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.terminal import FAILED, Json, Stop, say, show

if TYPE_CHECKING:
    from service.sandbox.subscriber import Subscriber
    from service.sandbox.world import World

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]

SPEAKS = ("cloudsway", "ulazai")
CONTROLS = ("ledger", "jobs", "requests", "script", "knobs", "reset")


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
    json: Json = False,
) -> None:
    """Play the providers: same requests, replies, pushes and faults, nothing is paid. Ends at Ctrl-C.

    A prompt may order misbehaviour: "a paper boat [sandbox: no-push, seconds=0.5]".
    """
    from service.sandbox.jobs import Knobs
    from service.sandbox.world import World

    world = World(Knobs(api_key=api_key, job_seconds=None if by_hand else job_seconds))
    asyncio.run(_play("sandbox", world, host, port, json))


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
    asyncio.run(_play("subscriber", listener, host, port, json))


async def _play(name: str, played: World | Subscriber, host: str, port: int, json: bool) -> None:
    from service.sandbox.serve import serve

    try:
        served = await serve(played, host, port)
    except OSError as error:
        raise Stop(
            f"{name}: cannot listen on {host}:{port}: {error.strerror or error}. Another port: --port 0", FAILED
        ) from None
    facts = {"ready": name, "pid": os.getpid(), "url": served.url, **_doors(name, served.url)}
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
        f"sandbox on {facts['url']}   speaks {' and '.join(SPEAKS)}; nothing is paid. Ctrl-C ends it",
        f"  to use it  TASKRELAY_ACCOUNTS__CLOUDSWAY__BASE_URL={facts['url']} "
        "TASKRELAY_EGRESS__ALLOW=127.0.0.0/8 TASKRELAY_EGRESS__PORTS=*",
        *(f"  {door:9}  {facts['url']}/_sandbox/{door}" for door in CONTROLS),
    ]
