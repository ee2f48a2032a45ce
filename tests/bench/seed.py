"""Fills a database with what a bench needs, through the storage functions the service uses."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from service import bootstrap
from service.bootstrap import clock, mint
from service.core import events, signature
from service.core.tokens import Tokens
from service.settings import Settings
from storage import endpoint_secrets, endpoints, lanes, outbox, projects, tasks
from storage.database import Connection
from storage.records import (
    Charge,
    Delivery,
    Endpoint,
    EndpointSecret,
    Event,
    LaneKind,
    Project,
    Submission,
    SubmissionStatus,
    Task,
    TaskStatus,
)

CHUNK = 500
MINUTE = 60_000_000
SIGNATURE = secrets.token_urlsafe(480)
PROMPT = "A paper boat drifts down a gutter after rain, low camera, slow dolly in. " * 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A project with one endpoint."""

    project_id: str
    endpoint_id: str
    secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A callback ready to be sent: where, and its body."""

    path: str
    body: bytes


async def tenant(settings: Settings, url: str, *, in_flight: int) -> Tenant:
    """A project and an endpoint at `url`."""
    secret = signature.new_secret(secrets.token_bytes(24))
    made = Tenant(project_id=mint("prj"), endpoint_id=mint("ep"), secret=secret)
    async with bootstrap.open_store(settings) as (database, keyring):

        async def unit(tx: Connection) -> None:
            now = clock()
            sealed = keyring.seal(secret, purpose="project-secret", nonce=secrets.token_bytes(12))
            await projects.insert(tx, Project(id=made.project_id, name=made.project_id, secret=sealed, created_at=now))
            sealed = keyring.seal(secret, purpose="endpoint-secret", nonce=secrets.token_bytes(12))
            await endpoints.insert(
                tx,
                Endpoint(
                    id=made.endpoint_id,
                    project_id=made.project_id,
                    url=url,
                    max_in_flight=in_flight,
                    created_at=now,
                    updated_at=now,
                ),
            )
            secret_row = EndpointSecret(endpoint_id=made.endpoint_id, number=1, sealed=sealed, created_at=now)
            await endpoint_secrets.insert(tx, secret_row)

        await database.write(unit)
    return made


def _task(project_id: str, account: str, number: int) -> Task:
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
    async with bootstrap.open_store(settings) as (database, keyring):
        tokens = Tokens(keyring, await database.read(projects.installation))
        for start in range(0, count, CHUNK):
            made = [_task(project_id, account, first + start + i) for i in range(min(CHUNK, count - start))]
            submissions = [
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

            async def unit(
                tx: Connection, made: Sequence[Task] = made, submissions: Sequence[Submission] = submissions
            ) -> None:
                for task in made:
                    await tasks.insert(tx, task)
                await tasks.insert_submissions(tx, submissions)

            await database.write(unit)
            pushes += [
                Push(path=f"/callbacks/cloudsway/{tokens.callback('cloudsway', submission.id)}", body=push_body(task))
                for task, submission in zip(made, submissions, strict=True)
            ]
    return pushes


async def deliveries(settings: Settings, to: Tenant, count: int) -> None:
    """Events and pending deliveries that are due, and the lane that must send them."""
    async with bootstrap.open_store(settings) as (database, _):
        for start in range(0, count, CHUNK):
            events_made: list[Event] = []
            owed: list[Delivery] = []
            for number in range(min(CHUNK, count - start)):
                task, now = _task(to.project_id, "cloudsway", start + number), clock()
                event_id = mint("evt")
                view = events.task_view(task, public_url="http://bench", output_url=None)
                events_made.append(
                    Event(
                        id=event_id,
                        project_id=to.project_id,
                        task_id=task.id,
                        provider=task.provider,
                        model=task.model,
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
                        task_id=task.id,
                        event_type="task.succeeded",
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
