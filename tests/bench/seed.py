"""Fills a database with what a bench needs, through the storage functions the service uses."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson

from service.bootstrap import stores
from service.bootstrap.world import clock, mint
from service.core import events, signature
from service.core.times import DAY, MINUTE
from service.core.tokens import Tokens
from service.pipeline.keys import make_key
from service.settings import Settings
from storage import endpoint_secrets, endpoints, lanes, outbox, projects, submissions, tasks
from storage.database import Connection
from storage.records import (
    Charge,
    Delivery,
    Endpoint,
    EndpointSecret,
    EndpointStatus,
    Event,
    LaneKind,
    Project,
    Submission,
    SubmissionStatus,
    Task,
    TaskStatus,
)

CHUNK = 500
SIGNATURE = secrets.token_urlsafe(480)
PROMPT = "A paper boat drifts down a gutter after rain, low camera, slow dolly in. " * 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A project with one endpoint."""

    project_id: str
    endpoint_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A callback ready to be sent: where, and its body."""

    path: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How an endpoint is called, where it is not as usual. `secrets`: how many sign; `headers`: JSON of the owner's."""

    secrets: int = 1
    filter: str | None = None
    rate_limit: int | None = None
    headers: str | None = None
    status: EndpointStatus = EndpointStatus.ACTIVE


async def tenant(settings: Settings, url: str, *, in_flight: int, manners: Manners | None = None) -> Tenant:
    """A project and an endpoint at `url`."""
    [made] = await tenants(settings, [(url, manners or Manners())], in_flight=in_flight)
    return made


async def tenants(settings: Settings, wanted: Sequence[tuple[str, Manners]], *, in_flight: int) -> list[Tenant]:
    """Projects with one endpoint each."""
    made = [Tenant(project_id=mint("prj"), endpoint_id=mint("ep")) for _ in wanted]
    async with stores.open_store(settings) as (database, keyring):

        def seal(text: str, purpose: str) -> str:
            return keyring.seal(text, purpose=purpose, nonce=secrets.token_bytes(12))

        async def unit(tx: Connection) -> None:
            for one, (url, manners) in zip(made, wanted, strict=True):
                secret = seal(new_secret(), "project-secret")
                await projects.insert(
                    tx, Project(id=one.project_id, name=one.project_id, secret=secret, created_at=clock())
                )
                await endpoints.insert(tx, _endpoint(one, url, manners, in_flight, seal))
                for row in _secrets(one, manners.secrets, seal):
                    await endpoint_secrets.insert(tx, row)

        await database.write(unit)
    return made


def new_secret() -> str:
    return signature.new_secret(secrets.token_bytes(24))


def _endpoint(of: Tenant, url: str, manners: Manners, in_flight: int, seal: Callable[[str, str], str]) -> Endpoint:
    now = clock()
    return Endpoint(
        id=of.endpoint_id,
        project_id=of.project_id,
        url=url,
        status=manners.status,
        filter=manners.filter,
        headers=seal(manners.headers, "endpoint-headers") if manners.headers else None,
        rate_limit=manners.rate_limit,
        max_in_flight=in_flight,
        created_at=now,
        updated_at=now,
    )


def _secrets(of: Tenant, count: int, seal: Callable[[str, str], str]) -> list[EndpointSecret]:
    """As after rotations: all but the newest retire tomorrow."""
    now = clock()
    return [
        EndpointSecret(
            endpoint_id=of.endpoint_id,
            number=number,
            sealed=seal(new_secret(), "endpoint-secret"),
            retires_at=now + DAY if number < count else None,
            created_at=now,
        )
        for number in range(1, count + 1)
    ]


async def key(settings: Settings, project_id: str) -> str:
    """An API key of the project that may do whatever is done to endpoints."""
    async with stores.open_store(settings) as (database, keyring):
        made = await make_key(
            database,
            keyring,
            name="bench",
            scopes=["endpoints"],
            project=project_id,
            clock=clock,
            mint=mint,
            entropy=secrets.token_bytes,
        )
    return made.key


def task(project_id: str, account: str, number: int) -> Task:
    now = clock()
    return Task(
        id=mint("task"),
        project_id=project_id,
        account=account,
        provider="cloudsway",
        model="kling-3.0-turbo",
        status=TaskStatus.PROCESSING,
        phase="running",
        provider_status="processing",
        input=orjson.dumps({"prompt": PROMPT, "duration": 5, "aspect_ratio": "16:9", "resolution": "720p"}).decode(),
        metadata='{"order":"8841"}',
        provider_task_id=str(900_000_000_000_000_000 + number),
        charge=Charge.ESTIMATED,
        cost_unit="unit",
        cost_estimated="4.0",
        submissions=1,
        sequence=2,
        version=3,
        due_at=now + 30 * MINUTE,
        deadline_at=now + 120 * MINUTE,
        created_at=now,
        submitted_at=now,
        updated_at=now,
    )


def push_body(task: Task) -> bytes:
    """The push of a finished job, about 1.1 KB as seen with signed CDN links."""
    return orjson.dumps(
        {
            "id": task.provider_task_id,
            "status": "succeeded",
            "message": "",
            "create_time": 1_783_500_000_123,
            "update_time": 1_783_500_071_000,
            "external_id": task.id,
            "outputs": [
                {
                    "type": "video",
                    "id": "911000000000000099",
                    "url": f"https://v.example.org/{task.id}/o.mp4?ksTime=6a6ef86e&sig={SIGNATURE}",
                    "watermark_url": "",
                    "duration": "5.041",
                }
            ],
            "billing": [{"charge_type": "unit", "amount": "4", "package_type": "video"}],
        }
    )


async def processing(settings: Settings, project_id: str, count: int, *, first: int, account: str) -> list[Push]:
    """Tasks bound to provider jobs, and the pushes that end them."""
    pushes: list[Push] = []
    async with stores.open_store(settings) as (database, keyring):
        tokens = Tokens(keyring, await database.read(projects.installation))
        for start in range(0, count, CHUNK):
            made = [task(project_id, account, first + start + i) for i in range(min(CHUNK, count - start))]
            tries = [
                Submission(
                    id=mint("sub"),
                    task_id=task.id,
                    number=1,
                    account=account,
                    status=SubmissionStatus.ACCEPTED,
                    deadline_at=task.created_at,
                    created_at=task.created_at,
                )
                for task in made
            ]

            async def unit(tx: Connection, made: Sequence[Task] = made, tries: Sequence[Submission] = tries) -> None:
                for task in made:
                    await tasks.insert(tx, task)
                await submissions.insert(tx, tries)

            await database.write(unit)
            pushes += [
                Push(path=f"/callbacks/cloudsway/{tokens.callback('cloudsway', submission.id)}", body=push_body(task))
                for task, submission in zip(made, tries, strict=True)
            ]
    return pushes


def event_body() -> bytes:
    """What is POSTed of such a task."""
    of, event_id = task("prj", "cloudsway", 1), mint("evt")
    view = events.task_view(of, public_url="http://bench", output_url=None)
    return events.render_task_event(event_id, "task.succeeded", clock(), view)


async def deliveries(settings: Settings, to: Tenant, count: int, *, attempts: int = 0) -> None:
    """Events and pending deliveries that are due, tried so often before, and the lane that must send them."""
    async with stores.open_store(settings) as (database, _):
        for start in range(0, count, CHUNK):
            events_made: list[Event] = []
            owed: list[Delivery] = []
            for number in range(min(CHUNK, count - start)):
                of, now = task(to.project_id, "cloudsway", start + number), clock()
                event_id = mint("evt")
                view = events.task_view(of, public_url="http://bench", output_url=None)
                events_made.append(
                    Event(
                        id=event_id,
                        project_id=to.project_id,
                        task_id=of.id,
                        provider=of.provider,
                        model=of.model,
                        type="task.succeeded",
                        sequence=3,
                        created_at=now,
                        body=events.render_task_event(event_id, "task.succeeded", now, view),
                        hard=True,
                    )
                )
                owed.append(
                    Delivery(
                        id=mint("dlv"),
                        event_id=event_id,
                        endpoint_id=to.endpoint_id,
                        project_id=to.project_id,
                        task_id=of.id,
                        event_type="task.succeeded",
                        attempts=attempts,
                        due_at=now,
                        created_at=now,
                        updated_at=now,
                    )
                )

            async def unit(
                tx: Connection, made: Sequence[Event] = events_made, owed: Sequence[Delivery] = owed
            ) -> None:
                await outbox.publish(tx, made, owed)
                await lanes.arrive(tx, {(LaneKind.ENDPOINT, to.endpoint_id): owed[0].due_at or 0})

            await database.write(unit)
