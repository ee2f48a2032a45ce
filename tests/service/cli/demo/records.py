"""What the three parties of a demo would have recorded, made up in one place."""

from __future__ import annotations

import json
from typing import Any

from service.cli.demo.scenes import SCENES, Played

BEGAN = 1_783_500_000.0
IDS = {"pushed": "evt_P", "polled": "evt_Q", "push-lost": "evt_L"}


def at(span: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(BEGAN + span, UTC).isoformat().replace("+00:00", "Z")


def job(name: str, *, taken: bool) -> dict[str, Any]:
    pushes = [
        {
            "status": "succeeded",
            "at": BEGAN + 2,
            "dropped": not taken,
            "attempts": [{"at": BEGAN + 2, "ended_at": BEGAN + 2.01, "status": 200, "error": None}] if taken else [],
        }
    ]
    return {
        "id": f"job-{name}",
        "accepted_at": BEGAN + 0.03,
        "finished_at": BEGAN + 2.0,
        "queried": 1,
        "pushes": [] if name == "polled" else pushes,
    }


def received(name: str, *, type: str = "task.succeeded", valid: bool = True, span: float = 2.5) -> dict[str, Any]:
    return {
        "webhook_id": IDS[name],
        "received_at": BEGAN + span,
        "valid": valid,
        "reason": None if valid else "No matching signature found",
        "status": 204,
        "body": json.dumps({"id": IDS[name], "type": type, "data": {"id": f"task_{name}"}}),
    }


def played(name: str) -> Played:
    """A scene in which everything went well."""
    scene = next(scene for scene in SCENES if scene.name == name)
    return Played(
        scene=scene,
        task={"id": f"task_{name}", "status": "succeeded", "created_at": at(0), "finished_at": at(2.4)},
        timeline={
            "data": [
                {"at": at(0), "source": "api", "message": "Accepted and stored."},
                {"at": at(2.4), "source": "poll", "message": "it finished."},
            ],
            "next": None,
        },
        jobs=[job(name, taken=name == "pushed")],
        received=[received(name)],
    )
