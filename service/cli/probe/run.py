"""The probe's own taskrelay: started, given one task over its API, listened to until the end and a little longer, stopped in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from service.cli.terminal import Stop

if TYPE_CHECKING:
    import httpx

    from service.bootstrap.accounts import Purchase
    from service.bootstrap.probing import Probing
    from service.settings import Settings

ENDS = frozenset({"succeeded", "failed", "canceled", "expired"})
HOLD_SECONDS = 20
LOOK_EVERY_SECONDS = 0.1


async def run(
    settings: Settings, account: str, wanted: Purchase, listen: float, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Buy it, or go on with what an earlier run bought. `listen`: how long to stay for late pushes. Raises `Stop`."""
    from service.bootstrap.door import bind
    from service.bootstrap.probing import open_probe

    try:
        listener = bind(settings)
    except OSError as error:
        raise Stop(
            f"probe: cannot listen on {settings.host}:{settings.port}: {(error.strerror or str(error)).lower()}\n"
            "    Is serve running? Stop it while the probe runs, or: TASKRELAY_PORT=<another> with a PUBLIC_URL that leads there"
        ) from None
    settings = settings.model_copy(update={"port": listener.getsockname()[1]})
    async with open_probe(settings, account) as probing, _working(probing, [listener]), _client(probing) as client:
        task = await _followed(client, account, wanted, tell)
        if probing.course.account.pushes and task["status"] in ENDS:
            tell("ended; waiting for pushes")
            await asyncio.sleep(listen)
        facts, samples = await probing.report(task["id"])
    failure = task.get("error") or {}
    return {
        "account": account,
        "task": task["id"],
        "status": task["status"],
        "why": failure.get("message") or (task.get("next") or {}).get("reason"),
        "cost": task["cost"],
        "facts": [asdict(fact) | {"verdict": str(fact.verdict)} for fact in facts],
        "samples": samples,
    }


@asynccontextmanager
async def _working(probing: Probing, sockets: list[Any]) -> AsyncIterator[None]:
    """The service at work, as `serve` runs it."""
    from service import runtime

    service, server, stopping = probing.service, probing.server, asyncio.Event()
    duties = [
        asyncio.create_task(server.serve(sockets=sockets)),
        asyncio.create_task(runtime.run(service.loops, service.endless, stopping)),
    ]
    await server.ready.wait()
    try:
        yield
    finally:
        service.watch.close()
        server.should_exit = True
        stopping.set()
        await asyncio.gather(*duties, service.lanes.stop())


@asynccontextmanager
async def _client(probing: Probing) -> AsyncIterator[httpx.AsyncClient]:
    import httpx

    from service.bootstrap.keys import key_for

    service = probing.service
    made = await key_for(service.database, service.keyring, name="probe", scopes=["tasks"])
    settings = service.settings
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    base = f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
    headers = {"authorization": f"Bearer {made.key}"}
    async with httpx.AsyncClient(base_url=base, headers=headers, timeout=HOLD_SECONDS + 10, trust_env=False) as client:
        yield client


async def _followed(
    client: httpx.AsyncClient, account: str, wanted: Purchase, tell: Callable[[str], None]
) -> dict[str, Any]:
    """The task when nothing more will happen to it by itself."""
    body = {
        "account": account,
        "model": wanted.model,
        "input": dict(wanted.input),
        "reference": f"probe {wanted.model}",
    }
    made = await client.post("/v1/tasks", json=body)
    said = made.json()
    if made.status_code == 409 and said.get("code") == "reference_taken":
        task_id = said["existing"]  # an earlier run in this folder bought it
    elif made.status_code != 202:
        raise Stop(f"probe: {said.get('detail')}", facts=said)
    else:
        task_id = said["id"]
    tag: str | None = None
    while True:
        headers = {"if-none-match": tag} if tag else {}
        seen = await client.get(f"/v1/tasks/{task_id}", params={"wait": HOLD_SECONDS if tag else 0}, headers=headers)
        if seen.status_code == 304:
            continue
        if seen.status_code != 200:
            again = "Run again with the same --out: nothing is bought twice"
            raise Stop(f"probe: {task_id} cannot be followed (status {seen.status_code}). {again}")
        task: dict[str, Any] = seen.json()
        tag = seen.headers.get("etag")
        tell(f"{task['id']}  {task['status']}")
        if task["status"] in ENDS or (
            task["status"] == "unconfirmed" and (task.get("next") or {}).get("action") == "hold"
        ):
            return task
