"""The public shape of a task, who hears of what, ids that survive a restore, and bytes that stay within bounds."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core import events
from service.core.events import EventType, event_id, render_task_event, task_view, wants
from storage.records import Charge, Failure, FailureCode, Output, Surplus, Task, TaskStatus

NOW = 1_795_209_000_123_456  # 2026-11-20T21:10:00.123456Z
URL = "https://relay.example.org"
KEY = bytes(range(32))

TASK = Task(
    id="task_01M3250V3V7AAF059DXYKGHSA6",
    project_id="prj_secret",
    account="main",
    provider="cloudsway",
    model="kling-3.0-turbo",
    status=TaskStatus.SUCCEEDED,
    input='{"prompt":"A paper boat, 紙の舟","duration":5}',
    provider_options='{"native":1}',
    metadata='{"order":"8841"}',
    reference="order-8841",
    webhook_url="https://hooks.example.org/canary",
    provider_status="succeed",
    provider_task_id="8472",
    progress=100,
    outputs=(Output(url="https://cdn.example.com/a.mp4", duration="5.041", expires_at=NOW + 86_400_000_000),),
    final_at=NOW,
    charge=Charge.CONFIRMED,
    cost_unit="credits",
    cost_estimated="50",
    cost_charged="50.5",
    unit_price="0.01 USD",
    sequence=3,
    version=5,
    deadline_at=NOW + 7_200_000_000,
    created_at=NOW - 90_000_000,
    submitted_at=NOW - 89_000_000,
    finished_at=NOW,
    updated_at=NOW,
)


def shown(task: Task = TASK, output_url: str | None = f"{URL}/o/abc") -> Any:
    """The view as a client reads it."""
    return orjson.loads(orjson.dumps(task_view(task, public_url=URL, output_url=output_url)))


def test_a_finished_task_looks_like_this() -> None:
    assert shown() == {
        "id": "task_01M3250V3V7AAF059DXYKGHSA6",
        "object": "task",
        "status": "succeeded",
        "phase": None,
        "provider": "cloudsway",
        "account": "main",
        "model": "kling-3.0-turbo",
        "input": {"prompt": "A paper boat, 紙の舟", "duration": 5},
        "progress": 100,
        "final": True,
        "final_at": "2026-11-20T21:10:00.123456Z",
        "late": False,
        "charge": "confirmed",
        "output_url": "https://relay.example.org/o/abc",
        "outputs": [
            {
                "type": "video",
                "url": "https://cdn.example.com/a.mp4",
                "duration": "5.041",
                "expires_at": "2026-11-21T21:10:00.123456Z",
            }
        ],
        "error": None,
        "cost": {
            "unit": "credits",
            "estimated": "50",
            "charged": "50.5",
            "money": {"estimated": "0.5", "charged": "0.505", "currency": "USD"},
            "surplus": [],
        },
        "provider_task_id": "8472",
        "reference": "order-8841",
        "metadata": {"order": "8841"},
        "sequence": 3,
        "created_at": "2026-11-20T21:08:30.123456Z",
        "submitted_at": "2026-11-20T21:08:31.123456Z",
        "finished_at": "2026-11-20T21:10:00.123456Z",
        "updated_at": "2026-11-20T21:10:00.123456Z",
        "deadline_at": "2026-11-20T23:10:00.123456Z",
        "links": {
            "self": "https://relay.example.org/v1/tasks/task_01M3250V3V7AAF059DXYKGHSA6",
            "timeline": "https://relay.example.org/v1/tasks/task_01M3250V3V7AAF059DXYKGHSA6/timeline",
            "cancel": None,
            "resolve": None,
            "output": "https://relay.example.org/o/abc",
        },
    }


def test_a_job_too_many_stands_beside_the_tasks_own_cost_and_hides_nothing() -> None:
    job = Surplus(
        provider_task_id="8473", account="main", found_at=NOW, unit="credits", estimated="50", unit_price="0.01 USD"
    )
    seen = shown(replace(TASK, charge=Charge.NONE, surplus=(job,)))
    assert seen["charge"] == "possible"
    assert seen["cost"]["surplus"] == [
        {
            "provider_task_id": "8473",
            "account": "main",
            "found_at": "2026-11-20T21:10:00.123456Z",
            "unit": "credits",
            "estimated": "50",
            "charged": None,
            "money": {"estimated": "0.5", "charged": None, "currency": "USD"},
        }
    ]


@pytest.mark.parametrize(
    ("changes", "there"),
    [
        ({"status": TaskStatus.UNCONFIRMED, "final_at": None, "finished_at": None, "provider_task_id": None}, True),
        ({"status": TaskStatus.EXPIRED, "final_at": None, "provider_task_id": None}, True),
        ({"status": TaskStatus.EXPIRED, "final_at": None}, False),
        ({"status": TaskStatus.QUEUED, "final_at": None, "finished_at": None, "provider_task_id": None}, False),
        ({"status": TaskStatus.CANCELED, "provider_task_id": None}, False),
    ],
)
def test_the_link_that_settles_a_purchase_is_there_while_it_can_be_settled(
    changes: dict[str, Any], there: bool
) -> None:
    assert (shown(replace(TASK, **changes))["links"]["resolve"] is not None) == there


def test_a_failed_task_says_why() -> None:
    failure = Failure(
        code=FailureCode.CONTENT_REJECTED,
        message="The provider's content check refused it.",
        retryable=False,
        provider_code="1301",
        provider_message="risk control",
    )
    view = shown(replace(TASK, status=TaskStatus.FAILED, outputs=(), failure=failure), output_url=None)
    assert view["error"] == {
        "code": "content_rejected",
        "message": "The provider's content check refused it.",
        "retryable": False,
        "provider_code": "1301",
        "provider_message": "risk control",
    }
    assert (view["outputs"], view["output_url"], view["links"]["output"]) == ([], None, None)


def test_only_a_queued_task_offers_to_be_canceled() -> None:
    for status in TaskStatus:
        link = shown(replace(TASK, status=status))["links"]["cancel"]
        assert link == (f"{URL}/v1/tasks/{TASK.id}/cancel" if status is TaskStatus.QUEUED else None)


def test_what_has_not_happened_is_null() -> None:
    bare = replace(TASK, final_at=None, submitted_at=None, finished_at=None)
    view = shown(bare)
    assert (view["final"], view["final_at"], view["submitted_at"], view["finished_at"]) == (False, None, None, None)


def test_nothing_internal_is_shown() -> None:
    text = orjson.dumps(shown()).decode()
    for hidden in ("prj_secret", "canary", "native", "version", "due_at", 'succeed"', "unit_price"):
        assert hidden not in text


@pytest.mark.parametrize(
    ("estimated", "charged", "price", "money"),
    [
        ("50", None, "0.01 USD", {"estimated": "0.5", "charged": None, "currency": "USD"}),
        (None, "0.3", "7 CNY", {"estimated": None, "charged": "2.1", "currency": "CNY"}),
        ("0.1", "0.2", "0.1 EUR", {"estimated": "0.01", "charged": "0.02", "currency": "EUR"}),
        ("1", "1", None, None),
        ("1", "1", "", None),
        ("1", "1", "0.01", None),
        (None, None, "0.01 USD", None),
        ("1e9", "NaN", "0.01 USD", None),
        ("1", "1", "cheap USD", None),
    ],
)
def test_money_is_amount_times_price_when_both_are_known(
    estimated: str | None, charged: str | None, price: str | None, money: object
) -> None:
    task = replace(TASK, cost_estimated=estimated, cost_charged=charged, unit_price=price)
    assert shown(task)["cost"]["money"] == money


@pytest.mark.parametrize(
    ("unit", "price", "money"),
    [
        ("USD", None, {"estimated": None, "charged": "0.56", "currency": "USD"}),
        ("unit", None, None),
        ("cash", None, None),
        ("usd", None, None),
        ("unit", "0.14 USD", {"estimated": None, "charged": "0.0784", "currency": "USD"}),
    ],
)
def test_a_charge_in_a_currency_is_money_already(unit: str, price: str | None, money: object) -> None:
    task = replace(TASK, cost_unit=unit, cost_estimated=None, cost_charged="0.56", unit_price=price)
    assert shown(task)["cost"]["money"] == money


@given(st.integers(0, 10**30 - 1), st.integers(0, 10**30 - 1))
def test_no_digit_of_money_is_rounded_away(amount: int, price: int) -> None:
    def spelled(number: int) -> str:
        return f"{number // 10**15}.{number % 10**15:015d}"

    seen = events.money_view(spelled(amount), None, f"{spelled(price)} USD")
    assert seen is not None
    assert Fraction(str(seen["estimated"])) == Fraction(amount * price, 10**30)


ALL = set(EventType)
ENDS = {"task.succeeded", "task.failed", "task.canceled", "task.expired"}


@pytest.mark.parametrize(
    ("named", "heard"),
    [
        (None, ENDS),
        ("", ENDS),
        (" , ", ENDS),
        ("*", ALL),
        ("task.*", {type for type in ALL if type.startswith("task.")}),
        ("account.*", {"account.paused", "account.resumed", "account.callbacks_missing"}),
        ("endpoint.*, task.failed", {"endpoint.failing", "endpoint.disabled", "task.failed"}),
        ("task.succeeded", {"task.succeeded"}),
        ("task.conflict", {"task.conflict"}),
        ("task", set()),
        ("task.succ*", set()),
        ("TASK.SUCCEEDED", set()),
    ],
)
def test_who_hears_of_what(named: str | None, heard: set[str]) -> None:
    assert {type for type in EventType if wants(named, type)} == heard


def test_conflicts_are_heard_only_by_those_who_ask() -> None:
    assert EventType.TASK_CONFLICT not in events.ENDS
    assert events.ENDS == ENDS


def test_event_types_are_paths_that_the_specification_allows() -> None:
    for type in EventType:
        assert all(part.replace("_", "").isalnum() for part in type.split("."))


def test_the_same_fact_has_the_same_id() -> None:
    assert event_id(KEY, TASK.id, "task.succeeded", "1") == event_id(KEY, TASK.id, EventType.TASK_SUCCEEDED, "1")
    assert event_id(KEY, TASK.id, "task.succeeded", "1") == "evt_" + event_id(KEY, TASK.id, "task.succeeded", "1")[4:]


def test_another_fact_task_type_or_installation_has_another_id() -> None:
    made = {
        event_id(key, task, type, discriminator)
        for key in (KEY, bytes(32))
        for task in ("task_1", "task_2", "task_1\0task")
        for type in ("task.succeeded", "task.failed")
        for discriminator in ("", "1", "2")
    }
    assert len(made) == 2 * 3 * 2 * 3
    assert all(len(id) == 30 and "." not in id for id in made)


def test_an_event_is_minified_and_names_its_own_moment() -> None:
    body = render_task_event("evt_1", EventType.TASK_SUCCEEDED, NOW, {"id": "task_1", "prompt": "é"})
    assert (
        body
        == (
            '{"id":"evt_1","type":"task.succeeded","timestamp":"2026-11-20T21:10:00.123456Z",'
            '"data":{"id":"task_1","prompt":"é"}}'
        ).encode()
    )


def test_stored_documents_pass_through_byte_for_byte() -> None:
    odd = '{"b":1.10,"a":"\\u00e9"}'
    view = task_view(replace(TASK, input=odd, metadata=odd), public_url=URL, output_url=None)
    body = render_task_event("evt_1", "task.succeeded", NOW, view).decode()
    assert f'"input":{odd},' in body
    assert f'"metadata":{odd},' in body


def wide(count: int, character: str = "\U0001f600") -> str:
    return character * count


# The most a client may send: texts in the widest characters, every list full, 50 pairs of metadata.
LARGEST_INPUT = {
    "prompt": wide(2500),
    "negative_prompt": wide(2500),
    "shots": [{"prompt": wide(512), "duration": 15} for _ in range(6)],
    "images": [f"https://cdn.example.com/{'a' * 2000}" for _ in range(8)],
    "image": "https://cdn.example.com/" + "a" * 2000,
    "end_image": "https://cdn.example.com/" + "a" * 2000,
}
LARGEST_METADATA = {f"{number:02d}{wide(38)}": wide(500) for number in range(50)}


def largest(metadata: dict[str, str]) -> Task:
    return replace(
        TASK,
        input=orjson.dumps(LARGEST_INPUT).decode(),
        metadata=orjson.dumps(metadata).decode(),
        outputs=tuple(Output(url="https://cdn.example.com/" + "a" * 2000) for _ in range(9)),
    )


def rendered(task: Task) -> bytes:
    return render_task_event("evt_1", "task.succeeded", NOW, task_view(task, public_url=URL, output_url=None))


def test_an_ordinary_event_stays_under_twenty_kilobytes() -> None:
    longest_ascii = orjson.dumps({"prompt": "a" * 2500}).decode()
    task = replace(TASK, input=longest_ascii, metadata=orjson.dumps({f"key{n}": "a" * 200 for n in range(50)}).decode())
    assert len(rendered(task)) <= events.AIM_BYTES


def test_the_largest_event_a_client_can_cause_stays_whole() -> None:
    body = rendered(largest(LARGEST_METADATA))
    assert events.AIM_BYTES < len(body) <= events.MAX_BYTES
    assert orjson.loads(body)["data"]["input"] == LARGEST_INPUT


def test_beyond_the_cap_an_event_goes_out_without_its_documents() -> None:
    body = rendered(largest({str(number): wide(500) for number in range(200)}))
    view = orjson.loads(body)["data"]
    assert len(body) <= events.MAX_BYTES
    assert (view["input"], view["metadata"], view["truncated"]) == ({}, {}, True)
    assert view["id"] == TASK.id
    assert len(view["outputs"]) == 9
