"""Rows as the storage suite needs them: valid in every column, so that a test names only what it is about."""

from __future__ import annotations

from storage import endpoints, projects, tasks
from storage.database import Connection, Database
from storage.records import (
    ApiKey,
    Attempt,
    AuditEntry,
    Delivery,
    Endpoint,
    EndpointSecret,
    Event,
    LaneKind,
    ObservationRow,
    Project,
    Submission,
    SubmissionStatus,
    Task,
    TaskStatus,
)

NOW = 1_790_000_000_000_000
SECOND = 1_000_000
PAST, FUTURE = NOW - 3600 * SECOND, NOW + 3600 * SECOND
LONG_AGO = 1  # due, lapsed or overdue by any clock
NEVER = 2**62  # not due by any clock

PROJECT = "prj_1"
ACCOUNT = "cloudsway"
ACCOUNT_LANE = (LaneKind.ACCOUNT, ACCOUNT)


def project(id: str = PROJECT, **more: object) -> Project:
    return Project(**{"id": id, "name": f"name of {id}", "secret": "sealed", "created_at": NOW, **more})  # type: ignore[arg-type]


def api_key(id: str = "key_1", **more: object) -> ApiKey:
    row: dict[str, object] = {
        "id": id,
        "project_id": PROJECT,
        "name": "ci",
        "digest": id.encode(),
        "prefix": "trk_12345678",
        "scopes": frozenset({"tasks", "read"}),
        "created_at": NOW,
    }
    return ApiKey(**{**row, **more})  # type: ignore[arg-type]


def task(id: str = "task_1", **more: object) -> Task:
    row: dict[str, object] = {
        "id": id,
        "project_id": PROJECT,
        "account": ACCOUNT,
        "provider": "cloudsway",
        "model": "kling-3.0-turbo",
        "status": TaskStatus.QUEUED,
        "input": "{}",
        "due_at": NOW,
        "deadline_at": FUTURE,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Task(**{**row, **more})  # type: ignore[arg-type]


def finished(id: str, **more: object) -> Task:
    ended: dict[str, object] = {"status": TaskStatus.SUCCEEDED, "due_at": None, "finished_at": NOW, "final_at": NOW}
    return task(id, **{**ended, **more})


def submission(id: str = "sub_1", task_id: str = "task_1", **more: object) -> Submission:
    row: dict[str, object] = {
        "id": id,
        "task_id": task_id,
        "number": 1,
        "account": ACCOUNT,
        "status": SubmissionStatus.INTENDED,
        "deadline_at": FUTURE,
        "created_at": NOW,
    }
    return Submission(**{**row, **more})  # type: ignore[arg-type]


def push(id: str = "obs_1", **more: object) -> ObservationRow:
    row: dict[str, object] = {
        "id": id,
        "task_id": "task_1",
        "submission_id": "sub_1",
        "account": ACCOUNT,
        "source": "callback",
        "claim": "succeeded",
        "content": "{}",
        "raw": b"{}",
        "digest": id.encode(),
        "seen_at": NOW,
        "verified_at": None,
    }
    return ObservationRow(**{**row, **more})  # type: ignore[arg-type]


def audited(id: str = "aud_1", **more: object) -> AuditEntry:
    row: dict[str, object] = {
        "id": id,
        "project_id": PROJECT,
        "task_id": "task_1",
        "key_id": "key_1",
        "action": "abandon",
        "detail": "{}",
        "at": NOW,
    }
    return AuditEntry(**{**row, **more})  # type: ignore[arg-type]


def endpoint(id: str = "ep_1", **more: object) -> Endpoint:
    row: dict[str, object] = {
        "id": id,
        "project_id": PROJECT,
        "url": f"https://{id}.test/hook",
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Endpoint(**{**row, **more})  # type: ignore[arg-type]


def secret(number: int = 1, endpoint_id: str = "ep_1", **more: object) -> EndpointSecret:
    row: dict[str, object] = {
        "endpoint_id": endpoint_id,
        "number": number,
        "sealed": f"sealed {number}",
        "created_at": NOW,
    }
    return EndpointSecret(**{**row, **more})  # type: ignore[arg-type]


def event(id: str = "evt_1", **more: object) -> Event:
    row: dict[str, object] = {
        "id": id,
        "project_id": PROJECT,
        "task_id": f"task of {id}",
        "provider": "cloudsway",
        "model": "kling-3.0-turbo",
        "type": "task.succeeded",
        "sequence": 1,
        "created_at": NOW,
        "body": f'{{"id":"{id}"}}'.encode(),
    }
    return Event(**{**row, **more})  # type: ignore[arg-type]


def delivery(id: str = "dlv_1", **more: object) -> Delivery:
    row: dict[str, object] = {
        "id": id,
        "event_id": "evt_1",
        "endpoint_id": "ep_1",
        "project_id": PROJECT,
        "task_id": "task_1",
        "event_type": "task.succeeded",
        "due_at": NOW,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Delivery(**{**row, **more})  # type: ignore[arg-type]


def attempt(delivery_id: str = "dlv_1", number: int = 1, **more: object) -> Attempt:
    row: dict[str, object] = {
        "delivery_id": delivery_id,
        "number": number,
        "at": NOW,
        "duration_ms": 12,
        "status_code": 200,
        "error_class": None,
        "response_head": "ok",
    }
    return Attempt(**{**row, **more})  # type: ignore[arg-type]


async def plant(database: Database, *rows: Project | Task | Endpoint) -> None:
    """Store what the test is about to use; the project it all belongs to comes by itself."""

    async def unit(tx: Connection) -> None:
        if await projects.get(tx, PROJECT) is None:
            await projects.insert(tx, project())
        for row in rows:
            match row:
                case Project():
                    await projects.insert(tx, row)
                case Task():
                    await tasks.insert(tx, row)
                case Endpoint():
                    await endpoints.insert(tx, row)

    await database.write(unit)


async def stored(database: Database, task_id: str = "task_1") -> Task:
    """The task as it is in the database now."""
    return (await database.read(lambda tx: tasks.read(tx, [task_id])))[task_id]
