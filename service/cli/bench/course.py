"""The course: tasks in, callbacks in, deliveries out, each measured from outside, over HTTP, with every process its own.

Jobs at the sandbox end at once and push nothing: their callbacks are sent from here, when it is time, and what taskrelay does
about one is all it ever does (it keeps it, asks the provider, decides, tells).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from service.cli.demo.play import Cast
from service.cli.demo.scenes import body_of
from service.cli.demo.stage import Stage, StageError

if TYPE_CHECKING:
    import aiohttp

CONNECTIONS = 32
WARM_UP, SAMPLES = 5, 60
APART_SECONDS = 0.1  # between two callbacks, so that each is alone
LOOK_EVERY_SECONDS = 0.1
STALLED_SECONDS = 60.0

Add = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Job:
    """One at the sandbox, and whose it is."""

    id: str
    task: str
    callback_url: str


@dataclass(slots=True, kw_only=True)
class Course:
    """Speaks to all three. `add`, everywhere: called with how many more are done."""

    cast: Cast
    stage: Stage
    http: aiohttp.ClientSession
    endpoint: str = ""
    jobs: list[Job] = field(default_factory=list)

    async def subscribe(self) -> None:
        made = await self._api("POST", "/v1/endpoints", {"url": f"{self.cast.subscriber.url}/events"})
        async with self.http.put(f"{self.cast.subscriber.url}/_secret", json={"secret": made["secret"]}) as reply:
            reply.raise_for_status()
        self.endpoint = made["id"]

    async def tasks(self, count: int, add: Add) -> float:
        """Created a second: each stored, and answered 202. Stays until all are bought."""
        wanted = {
            "provider": "cloudsway",
            "model": "kling-3.0-turbo",
            "input": {"prompt": "A paper boat", "duration": 5},
        }

        async def create(number: int) -> None:
            await self._api("POST", "/v1/tasks", {**wanted, "metadata": {"bench": str(number)}})
            add(1)

        seconds = await _all(create, range(count))
        for status in ("queued", "submitting"):
            await self._none_left(status)
        async with self.http.get(f"{self.cast.sandbox.url}/_sandbox/ledger") as reply:
            ledger = await reply.json()
        self.jobs = [Job(one["id"], one["external_id"], one["callback_url"]) for one in ledger["jobs"]]
        if len(self.jobs) != count:
            raise StageError(
                f"{count} tasks were created and {len(self.jobs)} jobs bought; that is a bug, please report it"
            )
        return count / seconds

    async def one_by_one(self, jobs: Sequence[Job], add: Add) -> list[float]:
        """Milliseconds from each callback being sent to the subscriber having its event, with nothing else going on."""
        sent: dict[str, float] = {}
        for job in jobs:
            sent[job.task] = time.time()
            await self._push(job)
            add(1)
            await asyncio.sleep(APART_SECONDS)
        had = await self._received(job.task for job in jobs)
        return [(had[task] - at) * 1000 for task, at in sent.items()]

    async def callbacks(self, jobs: Sequence[Job], add: Add) -> float:
        """Stored and answered a second, the endpoint paused meanwhile. Stays until all are decided."""
        await self._api("POST", f"/v1/endpoints/{self.endpoint}/pause")

        async def push(job: Job) -> None:
            await self._push(job)
            add(1)

        seconds = await _all(push, jobs)
        await self._none_left("processing")
        return len(jobs) / seconds

    async def deliveries(self, jobs: Sequence[Job], add: Add) -> float:
        """Signed, sent, answered and recorded a second, out of a backlog."""
        await self._api("POST", f"/v1/endpoints/{self.endpoint}/resume")
        left = len(jobs)
        async with self._patience() as look:
            while left:
                stats = await self._api("GET", f"/v1/endpoints/{self.endpoint}/stats")
                add(left - stats["backlog"])
                left = stats["backlog"]
                await look()
        had = sorted((await self._received(job.task for job in jobs)).values())
        return (len(had) - 1) / max(had[-1] - had[0], 0.001)

    async def _received(self, tasks: Iterable[str]) -> dict[str, float]:
        """When the subscriber had the end of each. Raises `StageError` unless all came, signed, and succeeded."""
        wanted = set(tasks)
        async with self._patience() as look:
            while True:
                had = await self._heard()
                if missing := wanted - set(had):
                    await look(f"{len(missing)} events did not arrive")
                    continue
                return {task: had[task] for task in wanted}
        raise AssertionError("patience either ends or raises")

    async def _heard(self) -> dict[str, float]:
        async with self.http.get(f"{self.cast.subscriber.url}/_received") as reply:
            events = await reply.json()
        had: dict[str, float] = {}
        for event in events:
            body = body_of(event)
            if not event["valid"]:
                raise StageError(f"an event came with a signature that does not fit: {event['reason']}")
            if body["type"] != "task.succeeded":
                raise StageError(f"a task ended as {body['type']}, where all should have succeeded")
            had.setdefault(body["data"]["id"], event["received_at"])
        return had

    async def _push(self, job: Job) -> None:
        async with self.http.post(
            job.callback_url, data=callback(job), headers={"content-type": "application/json"}
        ) as reply:
            await reply.read()
            if reply.status != 200:
                raise StageError(f"a callback was answered {reply.status}")

    async def _none_left(self, status: str) -> None:
        async with self._patience() as look:
            while (await self._api("GET", f"/v1/tasks?status={status}&limit=1"))["data"]:
                await look(f"tasks stay {status}")

    @asynccontextmanager
    async def _patience(self) -> AsyncIterator[Callable[..., Any]]:
        """What is called between two looks: it waits a little, and gives up when it takes too long or a process is gone."""
        until = time.monotonic() + STALLED_SECONDS

        async def look(why: str = "it got stuck") -> None:
            if (gone := self.stage.ended()) is not None:
                raise StageError(f"{gone.name} went away with code {gone.running.returncode}")
            if time.monotonic() > until:
                raise StageError(f"{why} within {STALLED_SECONDS:g} s")
            await asyncio.sleep(LOOK_EVERY_SECONDS)

        yield look

    async def _api(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        headers = {"authorization": f"Bearer {self.cast.key}"}
        url = self.cast.taskrelay.url + path
        async with self.http.request(method, url, json=body, headers=headers) as reply:
            said = await reply.json()
        if reply.status >= 400:
            raise StageError(f"{path.partition('?')[0]} answered {reply.status}: {said.get('detail')}")
        return said


async def _all(do: Callable[[Any], Any], what: Iterable[Any]) -> float:
    """Seconds until all is done, over so many connections at a time."""
    rest, began = iter(what), time.perf_counter()

    async def worker() -> None:
        for one in rest:
            await do(one)

    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(worker())
    return time.perf_counter() - began


def callback(job: Job) -> bytes:
    """The push of a finished job, in members and size as Kling's callbacks page shows one."""
    video = {"type": "video", "id": f"{job.id}0", "url": f"https://video.sandbox.example/{job.id}.mp4?sig={'0' * 500}"}
    billing = {"charge_type": "unit", "amount": "4", "package_type": "video"}
    times = {"create_time": 1_783_500_000_123, "update_time": 1_783_500_071_000}
    return json.dumps(
        {
            "id": job.id, "status": "succeeded", "message": "", **times, "external_id": job.task,
            "outputs": [{**video, "watermark_url": "", "duration": "5.041"}], "billing": [billing],
        }
    ).encode()  # fmt: skip
