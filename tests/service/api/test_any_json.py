"""Any JSON value at any field of any route that takes a body: done, or refused in words. Never a 5xx, and nothing stored on a refusal.

A few hundred requests here; `make fuzz` sends ten thousand.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.api.app import ROUTES, create_app
from service.compat.openai import routes as openai
from service.core.observation import Claim, Source
from tests import engines
from tests.outside import Outside
from tests.service.api.house import House, order

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "200"))
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

FULL_ORDER = order(
    input={
        "prompt": "A paper boat", "negative_prompt": "rain", "duration": 5, "aspect_ratio": "16:9", "resolution": "1080p", "sound": False,
        "image": "https://example.org/a.png", "images": ["https://example.org/a.png"], "shots": [{"prompt": "x", "duration": 5}],
        "camera": {"type": "simple", "config": {"zoom": 1.5}}, "cfg_scale": 0.5, "watermark": False,
    },
    provider_options={}, metadata={"order": "8841"}, reference="order-1", webhook_url="https://app.example.org/hooks",
    webhook_events=["task.succeeded"], deadline_seconds=3600,
    fallbacks=[{"provider": "ulazai", "model": "kling-3.0", "provider_options": {}}],
)  # fmt: skip
ENDPOINT = {
    "url": "https://app.example.org/hooks", "events": ["task.succeeded"], "description": "shop", "format": "standard",
    "filter": {"provider": ["cloudsway"], "model": ["kling-3.0-turbo"], "metadata": {"order": "1"}},
    "headers": {"x-shop": "1"}, "max_in_flight": 4, "rate_limit": 5, "retry_schedule": [5, 60],
    "expires_at": "2030-01-01T00:00:00Z",
}  # fmt: skip
BUDGET = {"amount": "10.00", "currency": "USD", "period": "month"}
VIDEO = {
    "model": "cloudsway/kling-3.0-turbo",
    "prompt": "A paper boat",
    "seconds": "5",
    "size": "1280x720",
    "metadata": {"a": "b"},
}
WEBHOOK = {"name": "shop", "url": "https://app.example.org/hooks", "event_types": ["video.completed"]}

# (method, path, a body that is fine): every route that reads one; `{…}` is filled with an id of ours.
BODIES: Sequence[tuple[str, str, Mapping[str, Any]]] = (
    ("POST", "/v1/tasks", order()),
    ("POST", "/v1/tasks", FULL_ORDER),
    ("POST", "/v1/tasks?dry_run=true", FULL_ORDER),
    ("POST", "/v1/tasks/{task}/resolve", {"action": "adopt", "provider_task_id": "job-9"}),
    ("POST", "/v1/tasks/{task}/resolve", {"action": "resubmit", "possible_double_charge": True}),
    ("POST", "/v1/tasks/resolve", {"filter": {"provider": "cloudsway", "status": "unconfirmed"}, "action": "abandon"}),
    ("POST", "/v1/endpoints", ENDPOINT),
    ("PATCH", "/v1/endpoints/{endpoint}", ENDPOINT),
    ("POST", "/v1/endpoints/{endpoint}/test", {"type": "task.succeeded"}),
    ("POST", "/v1/endpoints/{endpoint}/rotate", {"overlap_seconds": 60}),
    ("POST", "/v1/endpoints/{endpoint}/replay", {"which": "failed", "since": "2026-01-01T00:00:00Z"}),
    ("POST", "/v1/signing-keys/rotate", {"overlap_seconds": 60}),
    ("POST", "/v1/projects", {"name": "shop", "budget": BUDGET, "max_open_tasks": 5, "on_ambiguous": "hold"}),
    ("PATCH", "/v1/projects/current", {"name": "shop", "budget": BUDGET, "max_open_tasks": 5, "on_ambiguous": "hold"}),
    ("POST", "/v1/projects/current/rotate", {"overlap_seconds": 60}),
    ("POST", "/v1/keys", {"name": "shop", "project": "stranger", "scopes": ["tasks", "read"]}),
    ("POST", "/openai/v1/videos", VIDEO),
    ("POST", "/openai/v1/webhook_endpoints", WEBHOOK),
    ("POST", "/openai/v1/webhook_endpoints/{video}", WEBHOOK),
    ("POST", "/openai/v1/webhook_endpoints/{video}/rotate_secret", {"keep_old_secret_active_for_24_hours": True}),
    ("POST", "/openai/v1/webhook_endpoints/{video}/test", {"event_type": "video.completed"}),
)
WITHOUT = {  # routes that take no JSON body, or a form
    "/v1/uploads", "/v1/tasks/{id}/cancel", "/v1/tasks/{id}/reconcile", "/v1/accounts/{name}/pause", "/v1/accounts/{name}/resume",
    "/v1/accounts/{name}/check", "/v1/endpoints/{id}/pause", "/v1/endpoints/{id}/resume", "/v1/deliveries/{id}/retry",
    "/openai/v1/videos/{id}/remix", "/openai/v1/videos/edits", "/openai/v1/videos/extensions", "/openai/v1/videos/characters",
}  # fmt: skip

ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        "", " ", "\x00", "a\x00b", "\ud800", "\udfff\ud800", "\u202eevil", "\x1b[31m",
        "\ufeff", "\uffff", "\U0010ffff", "x" * 3000, "é" * 700,
        "../../etc/passwd", "' OR 1=1 --", "$1", ":name", "%s%n", "{}", "task_", "null", "true", "1e9", "https://", "http://[::1]/", "https://x/\n",
        "9" * 400, 2**53, 2**53 + 1, -(2**63), 2**64, 10**400, -1, 0, 1e308, 5e-324, -0.0, 0.1, float("nan"), float("inf"),
        [], {}, [[]], {"": ""}, [None] * 300, {"a": {"b": {"c": []}}}, True, False, None, "2026-13-45T99:99:99Z",
        "9999-12-31T23:59:59.999999Z",
    ]
)  # fmt: skip
TEXT = st.text(st.characters(), max_size=60)
VALUES = ODD | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def places(value: Any, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place in a body, its top and a name that nobody knows included."""
    yield above
    if isinstance(value, dict):
        yield (*above, "nobody_knows")
        for name, inner in value.items():
            yield from places(inner, (*above, name))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from places(inner, (*above, at))


def put(body: Any, place: tuple[str | int, ...], value: Any) -> Any:
    if not place:
        return value
    changed = copy.deepcopy(body)
    inner = changed
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return changed


CASES = [(method, path, body, place) for method, path, body in BODIES for place in places(body)]


@dataclass(frozen=True, slots=True)
class Yard:
    """A service, what is in it to be changed, and a look at its database."""

    house: House
    client: httpx.AsyncClient
    outside: Outside
    ids: Mapping[str, str]


@pytest.fixture
async def yard(house: House, tmp_path: Path) -> AsyncIterator[Yard]:
    context = replace(house.context, limits=replace(house.context.limits, endpoints=10**6))
    app = create_app(context, more=openai.ROUTES)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    key = {"authorization": f"Bearer {house.key}", "content-type": "application/json"}
    async with httpx.AsyncClient(transport=transport, base_url="http://x.test", headers=key) as client:
        task = (await client.post("/v1/tasks", json=order())).json()["id"]
        await house.submitting(task)
        await house.saw(task, Claim.AMBIGUOUS, source=Source.SUBMIT)
        endpoint = (await client.post("/v1/endpoints", json={"url": "https://app.example.org/hooks"})).json()["id"]
        video = (await client.post("/openai/v1/webhook_endpoints", json=WEBHOOK)).json()["id"]
        outside = Outside(await engines.address(tmp_path, house.clock))
        yield Yard(house, client, outside, {"task": task, "endpoint": endpoint, "video": video})
        outside.close()


def test_every_route_that_takes_a_body_is_among_them() -> None:
    rows = [*ROUTES, *openai.ROUTES]
    takers = {(method, path) for method, path, *_ in rows if method in ("POST", "PATCH", "PUT") and path not in WITHOUT}
    tried = {(method, path.partition("?")[0].replace("/current", "/{id}")) for method, path, _ in BODIES}
    tried = {
        (method, path.replace("{task}", "{id}").replace("{endpoint}", "{id}").replace("{video}", "{id}"))
        for method, path in tried
    }
    assert takers == tried


async def test_the_bodies_are_fine_as_they_stand(yard: Yard) -> None:
    """Or a value that is put into one would be refused for another's sake."""
    wrong = {}
    for method, path, body in BODIES:
        if path == SLOW:
            continue  # waits for the sample's attempt, and nobody sends here
        answer = await yard.client.request(method, path.format(**yard.ids), content=json.dumps(body))
        if not answer.is_success and answer.json()["code"] not in EXPECTED.get(path, ()):
            wrong[f"{method} {path}"] = answer.json()["detail"]
    assert wrong == {}


# What a body that is fine meets all the same: the whole order asks for more than any contract has; settled tasks are settled once.
EXPECTED = {
    "/v1/tasks": ("invalid",),
    "/v1/tasks?dry_run=true": ("invalid",),
    "/v1/tasks/{task}/resolve": ("cannot_resolve",),
    "/v1/projects": ("project_name_taken",),
    "/v1/projects/current": ("project_name_taken",),
    "/v1/endpoints/{endpoint}/test": ("too_soon",),
}
SLOW = "/openai/v1/webhook_endpoints/{video}/test"


@fuzzed
@given(case=st.sampled_from(CASES), value=VALUES, tries=st.sampled_from([{}, {"x-stainless-retry-count": "0"}]))
async def test_any_value_at_any_field_is_taken_or_refused_in_words(
    yard: Yard, case: tuple[str, str, Any, tuple[str | int, ...]], value: Any, tries: dict[str, str]
) -> None:
    """`tries`: of a client that counts them what is asked is told apart before it is judged."""
    method, path, body, place = case
    yard.house.clock.advance(30)
    before = yard.outside.version()
    changed = json.dumps(put(body, place, value))
    answer = await yard.client.request(method, path.format(**yard.ids), content=changed, headers=tries)
    assert answer.is_success or 400 <= answer.status_code < 500, (answer.status_code, answer.text)
    told = answer.json()
    if answer.is_success:
        return
    assert yard.outside.version() == before, "a refused request wrote"
    assert answer.headers["content-type"] == "application/problem+json"
    assert told["status"] == answer.status_code and told["request_id"].startswith("req_")
    assert all(isinstance(told[name], str) and told[name] for name in ("type", "title", "detail", "code"))
    assert all(fault.keys() == {"pointer", "detail"} for fault in told.get("errors", []))
    assert set(told["error"]) == {"message", "type", "param", "code"}
    answer.text.encode("utf-8")


UNKEPT = ["\x00", "a\x1b[31m", "\ud800", "user\u202etxt.exe"]
PLACES = [
    ("POST", "/v1/tasks", "/metadata/order"),
    ("POST", "/v1/endpoints", "/description"),
    ("POST", "/v1/keys", "/project"),
    ("PATCH", "/v1/projects/current", "/name"),
    ("POST", "/openai/v1/videos", "/prompt"),
    ("POST", "/v1/tasks/{task}/resolve", "/provider_task_id"),
]


async def test_text_that_cannot_be_kept_is_refused_at_its_place(yard: Yard) -> None:
    before = yard.outside.version()
    for method, path, place in PLACES:
        fine = [body for one, where, body in BODIES if (one, where) == (method, path) and _at(body, place) is not None]
        for text in UNKEPT:
            changed = put(fine[-1], tuple(place.split("/")[1:]), text)
            answer = await yard.client.request(method, path.format(**yard.ids), content=json.dumps(changed))
            assert answer.status_code in (400, 422), (path, text)
            assert place in [fault["pointer"] for fault in answer.json()["errors"]]
    assert yard.outside.version() == before


def _at(body: Any, place: str) -> Any:
    for step in place.split("/")[1:]:
        body = body.get(step) if isinstance(body, dict) else None
    return body


KEPT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
               | st.sampled_from("\t\n\r\u200f\u0301👨‍👩‍👧"), min_size=1, max_size=60)  # fmt: skip


@settings(fuzzed, max_examples=max(EXAMPLES // 4, 25))
@given(prompt=KEPT, name=KEPT, value=KEPT)
async def test_text_that_is_taken_comes_back_as_it_went_in(yard: Yard, prompt: str, name: str, value: str) -> None:
    """On either engine: what is sent is what was counted, stored, shown and told."""
    yard.house.clock.advance(30)
    metadata = {name[:40]: value}
    body = order(input={"prompt": prompt}, metadata=metadata)
    made = await yard.client.post("/v1/tasks", content=json.dumps(body))
    if made.status_code == 422:  # a prompt of nothing but blanks
        assert not prompt.strip()
        return
    task = (await yard.client.get(f"/v1/tasks/{made.json()['id']}")).json()
    assert task["input"]["prompt"] == prompt and task["metadata"] == metadata == made.json()["metadata"]
    found = (await yard.client.get("/v1/events", params={"task": task["id"]})).json()["data"]
    assert all(event["data"]["metadata"] == metadata for event in found)
