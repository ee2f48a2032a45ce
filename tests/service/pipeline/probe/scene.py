"""Accounts from settings, and evidence made by hand: one job as the contract's documents tell it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from service.bootstrap.accounts import accounts_of
from service.core.observation import Claim, Reading
from service.pipeline.accounts import AccountDesk
from service.pipeline.probe.facts import Evidence
from service.pipeline.probe.heard import Exchange, Pushed
from service.pipeline.probe.questions import NOBODY, Answers
from service.providers.base import Ask, Reply
from service.settings import load
from storage.records import Output, Task, TaskStatus

SECOND = 1_000_000
START = 1_783_500_000 * SECOND
KEY = "ak-very-secret-4711"
JOB = "901930004609634393"
OURS = "task_0123456789abcdefghijklmnop"
LINK = f"https://v16.klingai.com/a/b/c.mp4?ksSecret=sig&ksTime={(START // SECOND + 30 * 86_400):x}"


def account(name: str, **more: str) -> AccountDesk:
    settings = {"TASKRELAY_PUBLIC_URL": "https://relay.example.com"} | {
        f"TASKRELAY_ACCOUNTS__{name.upper()}__{key}": value
        for key, value in {"API_KEY": KEY, "ENDPOINT_PATH": "my-path", "ENABLED": "true", **more}.items()
    }
    return accounts_of(load(settings))[name]


def body(status: str, **more: Any) -> dict[str, Any]:
    return {"id": JOB, "status": status, "message": "", "external_id": OURS, **more}


def end() -> dict[str, Any]:
    return body(
        "succeeded",
        outputs=[{"type": "video", "id": "9", "url": LINK, "duration": "3.0"}],
        billing=[{"charge_type": "unit", "amount": "2.4", "package_type": "video"}],
    )


def exchange(content: object, *, paid: bool = False, at: int = START, **headers: str) -> Exchange:
    said = {"code": 0, "message": "SUCCEED", "data": content, "request_id": "req-of-a-customer"}
    reply = Reply(status=200, headers={"content-type": "application/json", **headers}, body=json.dumps(said).encode())
    return Exchange(ask=Ask(method="POST" if paid else "GET", path="/x", paid=paid), reply=reply, at=at)


def evidence(**changed: Any) -> Evidence:
    """Cloudsway, everything as documented."""
    task = Task(
        id=OURS,
        project_id="prj_1",
        account="cloudsway",
        provider="cloudsway",
        model="kling-3.0-turbo",
        status=TaskStatus.SUCCEEDED,
        input=json.dumps({"prompt": "Miss Smith of 12 Elm Street dances", "duration": 3}),
        provider_task_id=JOB,
        cost_unit="unit",
        cost_estimated="2.4",
        cost_charged="2.4",
        outputs=(Output(url=LINK),),
        deadline_at=START + 7200 * SECOND,
        created_at=START,
        updated_at=START,
    )
    pushes = [Pushed(headers={"content-type": "application/json", "x-key": KEY}, body=json.dumps(one).encode(), at=START + SECOND)
              for one in (body("processing"), end())]  # fmt: skip
    exchanges = [
        exchange(body("submitted"), paid=True),
        exchange([body("processing")], date="Wed, 08 Jul 2026 08:40:01 GMT"),
        exchange([end()]),
        exchange([end()]),
        exchange([end()]),
    ]
    readings = [Reading(claim=Claim.RUNNING, provider_status=word) for word in ("submitted", "processing", "succeeded")]
    answers = Answers(
        together={OURS: Reading(claim=Claim.SUCCEEDED), NOBODY: Reading(claim=Claim.ABSENT)},
        found=Reading(claim=Claim.SUCCEEDED, provider_task_id=JOB),
        together_at=3,
        found_at=4,
    )
    seen = Evidence(
        account=account("cloudsway"), task=task, exchanges=exchanges, pushes=pushes, readings=readings, answers=answers,
        links=(LINK,), ended_at=START + 66 * SECOND,
    )  # fmt: skip
    return replace(seen, **changed)
