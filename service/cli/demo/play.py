"""Plays the demo: brings up the three processes, submits a task a scene, and gathers what each party saw of it."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from service.cli.demo.scenes import ENDS, Played, Scene, body_of
from service.cli.demo.stage import Child, Stage, StageError, free_port, run_once

if TYPE_CHECKING:
    import httpx

LOOK_EVERY_SECONDS = 0.1
SETTLE_LOOKS = 20  # how often the records are read again after the last event: they are written a moment after it
HERE = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """The processes, ready to play, and a key for the one that is being shown."""

    sandbox: Child
    taskrelay: Child
    subscriber: Child
    key: str


async def bring_up(stage: Stage) -> Cast:
    """Start everything. Raises `StageError`."""
    sandbox_port, port = free_port(), free_port()
    settings = settings_for(f"http://{HERE}:{sandbox_port}", f"http://{HERE}:{port}")
    sandbox, subscriber, made = await asyncio.gather(
        stage.start("sandbox", ["sandbox", "--port", str(sandbox_port), "--json"]),
        stage.start("subscriber", ["subscriber", "--port", "0", "--json"]),
        run_once(
            stage.folder,
            ["keys", "create", "--name", "demo", "--scope", "tasks,endpoints,read", "--json"],
            settings,
        ),
    )
    taskrelay = await stage.start("taskrelay", ["serve", "--host", HERE, "--port", str(port), "--json"], settings)
    return Cast(sandbox=sandbox, taskrelay=taskrelay, subscriber=subscriber, key=str(made["key"]))


def settings_for(sandbox: str, public: str) -> dict[str, str]:
    """What makes a taskrelay buy at the sandbox. Expected durations are short, so that a lost push is noticed soon."""
    return {
        "TASKRELAY_DATABASE_URL": "sqlite:///taskrelay.db",
        "TASKRELAY_SECRET_KEYS": base64.b64encode(secrets.token_bytes(48)).decode(),
        "TASKRELAY_PUBLIC_URL": public,
        "TASKRELAY_EGRESS__ALLOW": "127.0.0.0/8",
        "TASKRELAY_EGRESS__PORTS": "*",
        "TASKRELAY_ACCOUNTS__CLOUDSWAY__BASE_URL": sandbox,
        "TASKRELAY_ACCOUNTS__CLOUDSWAY__API_KEY": "sandbox-key-of-the-demo",
        "TASKRELAY_ACCOUNTS__CLOUDSWAY__ENDPOINT_PATH": "demo",
        "TASKRELAY_ACCOUNTS__CLOUDSWAY__EXPECTED_SECONDS": "1",
        "TASKRELAY_ACCOUNTS__CLOUDSWAY__RATE": "20/s",
        "TASKRELAY_ACCOUNTS__ULAZAI__BASE_URL": sandbox,
        "TASKRELAY_ACCOUNTS__ULAZAI__API_KEY": "sandbox-key-of-the-demo",
        "TASKRELAY_ACCOUNTS__ULAZAI__EXPECTED_SECONDS": "3",
        "TASKRELAY_ACCOUNTS__ULAZAI__RATE": "20/s",
    }


class Play:
    """Speaks to all three over HTTP and remembers what they said."""

    def __init__(self, cast: Cast, stage: Stage, client: httpx.AsyncClient) -> None:
        self.cast = cast
        self._stage = stage
        self._client = client
        self.played: list[Played] = []

    async def submit(self, scenes: Sequence[Scene]) -> None:
        """Subscribe, then submit a task for each scene."""
        made = await self._post("/v1/endpoints", {"url": f"{self.cast.subscriber.url}/events"})
        trusted = await self._client.put(f"{self.cast.subscriber.url}/_secret", json={"secret": made["secret"]})
        trusted.raise_for_status()
        for scene in scenes:
            wanted = {"prompt": scene.prompt, "duration": 5}
            task = await self._post("/v1/tasks", {"provider": scene.provider, "model": scene.model, "input": wanted})
            self.played.append(Played(scene=scene, task=task))

    async def until_told(self, tell: Callable[[Played], None]) -> None:
        """Until the subscriber has an end of every task. Raises `StageError` when a process goes away."""
        while True:
            await self._hear()
            for one in self.played:
                if one.task.get("finished_at") is None:
                    one.task = await self._get(self.cast.taskrelay.url, f"/v1/tasks/{one.task['id']}")
                tell(one)
            if all(one.received for one in self.played):
                return
            if (gone := self._stage.ended()) is not None:
                raise StageError(f"{gone.name} went away with code {gone.running.returncode}")
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def gather(self) -> None:
        """Read every party's records, again until they agree or it is clear that they will not."""
        for _ in range(SETTLE_LOOKS):
            await self._read_records()
            if not any(one.faults() for one in self.played):
                return
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def _read_records(self) -> None:
        await self._hear()
        ledger = await self._get(self.cast.sandbox.url, "/_sandbox/ledger")
        for one in self.played:
            one.jobs = [job for job in ledger["jobs"] if job["prompt"] == one.scene.prompt]
            one.task = await self._get(self.cast.taskrelay.url, f"/v1/tasks/{one.task['id']}")
            one.timeline = await self._get(self.cast.taskrelay.url, f"/v1/tasks/{one.task['id']}/timeline")

    async def _hear(self) -> None:
        received = await self._get(self.cast.subscriber.url, "/_received")
        for one in self.played:
            one.received = [event for event in received if _is_end_of(one.task["id"], event)]

    async def _get(self, url: str, path: str) -> Any:
        reply = await self._client.get(url + path, headers=self._headers(url))
        return _read(reply.status_code, reply.json(), path)

    async def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        url = self.cast.taskrelay.url
        reply = await self._client.post(url + path, json=body, headers=self._headers(url))
        return _read(reply.status_code, reply.json(), path)

    def _headers(self, url: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.cast.key}"} if url == self.cast.taskrelay.url else {}


def _read(status: int, body: Any, path: str) -> Any:
    if status >= 400:
        detail = body.get("detail") if isinstance(body, dict) else body
        raise StageError(f"{path} answered {status}: {detail}")
    return body


def _is_end_of(task_id: str, event: Mapping[str, Any]) -> bool:
    body = body_of(event)
    return body["type"] in ENDS and body["data"].get("id") == task_id
