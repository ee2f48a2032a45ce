from __future__ import annotations

from collections import Counter

import httpx
import pytest

from service.cli.demo.killing import TASKS, _acknowledged, orders_of
from service.cli.demo.scenes import SCENES
from service.cli.demo.stage import StageError


def test_the_scenes_come_in_turns_and_every_prompt_is_another() -> None:
    orders = orders_of(SCENES, stuck=False)
    assert len(orders) == TASKS == len({order.scene.prompt for order in orders})
    assert len({order.reference for order in orders}) == TASKS
    assert sorted(Counter(order.scene.name for order in orders).values()) == [6, 7, 7]
    assert all("seconds=1" in order.scene.prompt and "stuck" not in order.scene.prompt for order in orders)
    assert all("no-push" in order.scene.prompt for order in orders if order.scene.name == "push-lost")


def test_one_scene_alone_and_jobs_that_never_end_can_be_had() -> None:
    orders = orders_of(SCENES[1:2], stuck=True)
    assert {order.scene.name for order in orders} == {"polled"} and len(orders) == TASKS
    assert all(order.scene.prompt.endswith("stuck]") for order in orders)


@pytest.mark.parametrize(
    ("status", "body", "known"),
    [
        (202, {"id": "task_1"}, "task_1"),
        (409, {"code": "reference_taken", "existing": "task_1"}, "task_1"),
        (429, {}, None),
        (503, {}, None),
    ],
)
def test_an_order_is_kept_once_its_task_is_named(status: int, body: dict[str, str], known: str | None) -> None:
    assert _acknowledged(httpx.Response(status, json=body)) == known


@pytest.mark.parametrize(("status", "code"), [(409, "idempotency_conflict"), (422, "invalid"), (500, "internal")])
def test_a_refusal_that_stays_is_told_and_not_asked_again(status: int, code: str) -> None:
    with pytest.raises(StageError, match=f"/v1/tasks answered {status}: .*{code}"):
        _acknowledged(httpx.Response(status, json={"code": code}))
