"""The service that API tests run against, and what they do to it from the provider's side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import httpx

from service.api.app import Api
from service.api.context import Context
from service.core.observation import Claim, Observation, Reading, Source
from service.core.tokens import Tokens
from service.net.client import Channel
from service.pipeline.accounts import AccountDesk, Callbacks
from service.pipeline.keys import make_key
from service.pipeline.ledger import Desk, LaneKey, Recorded
from service.providers.base import Account
from service.providers.registry import PROVIDERS
from storage import projects
from storage.database import Connection
from storage.records import Failure, FailureCode, Output, Project
from tests.service.api import witness
from tests.storage.conftest import Clock

TABLES = (
    "tasks",
    "submissions",
    "observations",
    "callbacks",
    "timeline",
    "events",
    "endpoints",
    "deliveries",
    "lanes",
    "answers",
)
SIZES = {
    table: f"SELECT count(*) FROM {table}"  # noqa: S608 (names of ours)
    for table in TABLES
}
VIDEO = "https://cdn.example.net/a.mp4?sig=1"


def accounts(public_url: str | None) -> dict[str, AccountDesk]:
    """Two of cloudsway, one of which has a signing secret, and none of ulazai that is switched on but one named so."""
    return {
        "cloudsway": account("cloudsway", "cloudsway", public_url),
        "ulazai": account("ulazai", "ulazai", public_url),
    }


def account(name: str, provider: str, public_url: str | None, **more: object) -> AccountDesk:
    settings: dict[str, object] = {
        "account": Account(name=name, provider=provider, endpoint_path="tenant-1"),
        "provider": PROVIDERS[provider],
        "channel": Channel(name=name, base_url="https://provider.example", api_key="secret-provider-key"),
        "callbacks": Callbacks.VERIFY,
        "rate": 5.0,
        "max_open_tasks": 100,
        "expected_seconds": 60.0,
        "settle_seconds": 120.0,
        "submit_deadline_seconds": 30.0,
        "query_seconds": 15.0,
        "unit_price": "0.01 USD",
        "public_url": public_url,
    }
    return AccountDesk(**{**settings, **more})  # type: ignore[arg-type]


def desk(configured: Mapping[str, AccountDesk], tokens: Tokens, clock: Clock, entropy: Callable[[int], bytes]) -> Desk:
    return Desk(
        accounts={name: one.rules() for name, one in configured.items()},
        public_url="https://relay.example.org",
        event_key=b"installation",
        output_url=lambda task_id: f"https://relay.example.org/o/{tokens.output(task_id)}",
        clock=clock,
        entropy=entropy,
        chance=lambda: 0.0,
    )


@dataclass(slots=True)
class House:
    """A context, the keys to it, and a provider's voice."""

    context: Context
    clock: Clock
    rung: list[tuple[LaneKey, int]]
    key: str = ""
    project_id: str = ""
    keys: dict[str, str] = field(default_factory=dict)

    async def furnish(self) -> None:
        """A key that may do everything, and one of another project."""
        made = await self._key("admin", {"admin"})
        self.key, self.project_id = made
        stranger = Project(id=self.context.mint("prj"), name="stranger", secret="sealed", created_at=self.clock())
        await self.context.database.write(lambda tx: projects.insert(tx, stranger))
        self.keys["stranger"], _ = await self._key("stranger", {"admin"}, project="stranger")

    async def key_with(self, *scopes: str) -> str:
        return (await self._key("-".join(scopes), set(scopes)))[0]

    async def _key(self, name: str, scopes: set[str], project: str | None = None) -> tuple[str, str]:
        context = self.context
        made = await make_key(
            context.database,
            context.keyring,
            name=name,
            scopes=scopes,
            project=project,
            clock=context.clock,
            mint=context.mint,
            entropy=context.entropy,
        )
        return made.key, made.project_id

    def client(self, app: Api, key: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app),
            base_url="http://anything.test",
            headers={"authorization": f"Bearer {key}"} if key else {},
            event_hooks={"response": [witness.check]},  # every answer is held against the document
        )

    async def sizes(self) -> dict[str, int]:
        """How many rows each table has: what proves that nothing was stored."""

        async def unit(tx: Connection) -> dict[str, int]:
            found: dict[str, int] = {}
            for table, text in SIZES.items():
                [(count,)] = await tx.fetch(text)
                found[table] = int(count)  # type: ignore[call-overload]
            return found

        return await self.context.database.read(unit)

    async def saw(self, task_id: str, claim: Claim, *, source: Source = Source.POLL, **more: object) -> Recorded:
        """What the provider says of a task's job."""
        self.clock.advance(1)
        reading = Reading(claim=claim, provider_task_id="job-1", **more)  # type: ignore[arg-type]
        return await self.context.recorder.record(
            Observation(task_id=task_id, source=source, reading=reading, at=self.clock())
        )

    async def submitting(self, task_id: str, submission_id: str | None = None) -> str:
        """The intent of a purchase; returns the submission's id."""
        self.clock.advance(1)
        submission_id = submission_id or self.context.mint("sub")
        await self.context.recorder.record(
            Observation(
                task_id=task_id,
                source=Source.SUBMIT,
                reading=Reading(claim=Claim.INTENT),
                at=self.clock(),
                submission_id=submission_id,
                submission_deadline_at=self.clock() + 30_000_000,
            )
        )
        return submission_id

    async def bought(self, task_id: str, job: str = "job-1") -> str:
        """A purchase that went well; returns the submission's id."""
        submission_id = await self.submitting(task_id)
        await self.context.recorder.record(
            Observation(
                task_id=task_id,
                source=Source.SUBMIT,
                reading=Reading(claim=Claim.ACCEPTED, provider_task_id=job),
                at=self.clock(),
                submission_id=submission_id,
            )
        )
        return submission_id

    async def succeeded(self, task_id: str, job: str = "job-1") -> None:
        await self.bought(task_id, job)
        self.clock.advance(1)
        reading = Reading(claim=Claim.SUCCEEDED, provider_task_id=job, outputs=(Output(url=VIDEO),))
        await self.context.recorder.record(
            Observation(task_id=task_id, source=Source.POLL, reading=reading, at=self.clock())
        )

    async def failed(self, task_id: str, job: str = "job-1") -> None:
        await self.bought(task_id, job)
        failure = Failure(code=FailureCode.CONTENT_REJECTED, message="refused by the provider's filter")
        reading = Reading(claim=Claim.FAILED, provider_task_id=job, failure=failure)
        await self.context.recorder.record(
            Observation(task_id=task_id, source=Source.POLL, reading=reading, at=self.clock())
        )


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop run until something holds that nobody tells of."""
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0)


def order(**more: object) -> dict[str, object]:
    """A body of POST /v1/tasks that is fine."""
    body: dict[str, object] = {
        "provider": "cloudsway",
        "model": "kling-3.0-turbo",
        "input": {"prompt": "A paper boat drifts down a gutter"},
    }
    return {**body, **more}


def ulazai(**more: object) -> dict[str, object]:
    """The same for the contract that never pushes."""
    return order(provider="ulazai", model="kling-3.0", **more)
