"""Tasks, replies and a way to walk a flow: what provider tests are built from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from service.core.request import TaskRequest
from service.providers.base import Account, Ask, Clues, Flow, Provider, Push, Reply
from service.providers.registry import PROVIDERS
from storage.records import Task, TaskStatus

T = TypeVar("T")

SAMPLES = Path(__file__).parent / "samples"
TASK_ID = "task_0000000000000000000001"
TOKEN = "c3ViXzAxSjhaNg.sIgNaTuReSiGnAtUrE_-0"
CALLBACK_URL = f"https://relay.example.org/callbacks/cloudsway/{TOKEN}"
CLUES = Clues(ours=lambda url: url == CALLBACK_URL, since=1_783_500_000_000_000, until=1_783_500_600_000_000)
KEY = "ulazai_live_0123456789abcdef"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One recorded or documented message, and what it must be read as."""

    provider: str
    name: str
    flow: str
    job: str | None
    reply: Reply
    expect: Mapping[str, object]
    model: str | None = None
    others: Mapping[str, str] = field(default_factory=dict)  # the batch's further jobs, and their claims

    @property
    def contract(self) -> Provider:
        return PROVIDERS[self.provider]


def samples(provider: str) -> list[Sample]:
    found = []
    for path in sorted((SAMPLES / provider).glob("*.json")):
        told = json.loads(path.read_text(encoding="utf-8"))
        reply = told["reply"]
        body = reply["text"] if "text" in reply else json.dumps(reply["body"])
        found.append(
            Sample(
                provider=provider,
                name=path.stem,
                flow=told["flow"],
                job=told.get("job"),
                model=told.get("model"),
                others=told.get("others", {}),
                reply=Reply(status=reply["status"], headers=reply.get("headers", {}), body=body.encode()),
                expect=told["expect"],
            )
        )
    return found


def account(provider: str, endpoint_path: str | None = "tenant-1") -> Account:
    return Account(name=provider, provider=provider, endpoint_path=endpoint_path)


def request(provider: str, input: Mapping[str, object], *, model: str | None = None, **more: object) -> TaskRequest:
    name = model or next(iter(PROVIDERS[provider].models))
    return TaskRequest(provider=provider, model=name, input=input, **more)  # type: ignore[arg-type]


def task(
    provider: str,
    *,
    id: str = TASK_ID,
    job: str | None = None,
    input: Mapping[str, object] | None = None,
    options: Mapping[str, object] | None = None,
    resends: int = 0,
    model: str | None = None,
) -> Task:
    """A task whose input went through the contract's own checks, as in the service."""
    wanted = request(provider, input or {"prompt": "A paper boat."}, model=model, provider_options=options or {})
    ready = PROVIDERS[provider].prepare(wanted)
    return Task(
        id=id,
        project_id="prj_1",
        account=provider,
        provider=provider,
        model=wanted.model,
        status=TaskStatus.PROCESSING if job else TaskStatus.SUBMITTING,
        input=json.dumps(ready.input),
        provider_options=json.dumps(ready.provider_options),
        provider_task_id=job,
        resends=resends,
        deadline_at=10,
        created_at=1,
        updated_at=1,
    )


def walk(flow: Flow[T], *replies: Reply) -> tuple[list[Ask], T]:
    """What a flow asked, and what it concluded from the replies, given in order; the last one answers all that follows."""
    asked: list[Ask] = []
    waiting = list(replies)
    try:
        ask = next(flow)
        while True:
            asked.append(ask)
            ask = flow.send(waiting.pop(0) if len(waiting) > 1 else waiting[0])
    except StopIteration as stop:
        return asked, stop.value


def reply(body: object, status: int = 200, **headers: str) -> Reply:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=status, headers=names, body=body if isinstance(body, bytes) else json.dumps(body).encode())


def push(body: object, headers: Mapping[str, str] | None = None) -> Push:
    return Push(headers=headers or {}, body=body if isinstance(body, bytes) else json.dumps(body).encode())


def listing(*jobs: object) -> Reply:
    """Cloudsway's answer to a query."""
    return reply({"code": 0, "message": "SUCCEED", "data": list(jobs), "request_id": "r"})
