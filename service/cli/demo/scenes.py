"""What the demo plays: three ways for taskrelay to learn that a job is done, and what must be true of each afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.cli.task_lines import instant

SUCCEEDED = "task.succeeded"
ENDS = (SUCCEEDED, "task.failed", "task.canceled", "task.expired")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One task. `orders`: what the sandbox is told through the prompt."""

    number: int
    name: str
    provider: str
    model: str
    about: str
    orders: str

    @property
    def title(self) -> str:
        return self.name.replace("-", " ")

    @property
    def prompt(self) -> str:
        return f"A paper boat drifts down a gutter, take {self.number} [sandbox: {self.orders}]"


SCENES = (
    Scene(
        number=1,
        name="pushed",
        provider="cloudsway",
        model="kling-3.0-turbo",
        about="whose push arrived",
        orders="seconds=3",
    ),
    Scene(
        number=2,
        name="polled",
        provider="ulazai",
        model="kling-3.0",
        about="whose provider never pushes",
        orders="seconds=3",
    ),
    Scene(
        number=3,
        name="push-lost",
        provider="cloudsway",
        model="kling-3.0-turbo",
        about="whose push the sandbox threw away on purpose",
        orders="no-push, seconds=3",
    ),
)


@dataclass(slots=True, kw_only=True)
class Played:
    """A scene and everything known of it: what taskrelay says, what the sandbox saw, what the subscriber got."""

    scene: Scene
    task: dict[str, Any]
    timeline: dict[str, Any] = field(default_factory=dict)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    received: list[dict[str, Any]] = field(default_factory=list)

    @property
    def began(self) -> float:
        return instant(self.task["created_at"])

    def after(self, at: float | None) -> float | None:
        """Seconds from the beginning."""
        return None if at is None else at - self.began

    @property
    def finished_at(self) -> float | None:
        """When the provider was done."""
        return self.jobs[0]["finished_at"] if self.jobs else None

    @property
    def known_at(self) -> float | None:
        """When taskrelay knew."""
        found = self.task.get("finished_at")
        return instant(found) if found else None

    @property
    def had_at(self) -> float | None:
        """When the subscriber had it."""
        return self.received[0]["received_at"] if self.received else None

    @property
    def queries(self) -> int:
        return sum(int(job["queried"]) for job in self.jobs)

    @property
    def signed(self) -> bool:
        return bool(self.received) and all(event["valid"] for event in self.received)

    @property
    def webhook_ids(self) -> set[str]:
        return {event["webhook_id"] for event in self.received}

    def faults(self, missed: str = "no event") -> list[str]:
        """Everything that is not as promised; empty when all is well. `missed`: what to call it that nothing came."""
        bought = [] if len(self.jobs) == 1 else [f"{len(self.jobs)} jobs bought, not 1"]
        if not self.received:
            return [missed, *bought]
        return [*bought, *self._told_wrongly(), *self._staged()]

    def _told_wrongly(self) -> list[str]:
        found = []
        if self.task["status"] != "succeeded":
            found.append(f"it is {self.task['status']}, not succeeded")
        if len(self.webhook_ids) != 1:
            found.append(f"{len(self.webhook_ids)} different events, not 1")
        if not self.signed:
            found.append(f"the signature is not valid: {self.received[0]['reason']}")
        if any(body_of(event)["type"] != SUCCEEDED for event in self.received):
            found.append("the event does not say task.succeeded")
        return found

    def _staged(self) -> list[str]:
        """Whether the sandbox played what this scene is about; otherwise a pass would show nothing."""
        pushes = [push for job in self.jobs for push in job["pushes"]]
        arrived = [push for push in pushes if any(taken(attempt) for attempt in push["attempts"])]
        match self.scene.name:
            case "pushed" if not arrived:
                return ["none of its pushes was taken"]
            case "polled" if pushes:
                return ["it was pushed, and should only have been polled"]
            case "push-lost" if arrived or not pushes:
                return ["its push was not thrown away"]
            case _:
                return []


def body_of(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event a subscriber received; empty when it is none."""
    import json

    try:
        body = json.loads(event["body"])
    except ValueError:
        return {"type": None, "data": {}}
    return body if isinstance(body, dict) and isinstance(body.get("data"), dict) else {"type": None, "data": {}}


def taken(attempt: Mapping[str, Any]) -> bool:
    """Whether a push was answered 2xx."""
    return attempt["status"] is not None and 200 <= attempt["status"] < 300
