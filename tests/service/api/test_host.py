"""A31: no answer repeats the host a request states, whichever header states it, and none leads anywhere by it."""

from __future__ import annotations

import re

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.api.app import OPEN_ROWS, ROUTES, Api, create_app
from service.compat.openai import routes as openai
from tests.service.api.house import House

ROWS = sorted({(method, path) for method, path, *_ in (*ROUTES, *openai.ROUTES, *OPEN_ROWS)})
STATED = (
    "host",
    "x-forwarded-host",
    "x-host",
    "x-original-url",
    "x-rewrite-url",
    "x-forwarded-server",
    "forwarded",
    "origin",
    "referer",
)
HOSTS = st.sampled_from(
    ["evil.example", "evil.example:8080", "[::bad:cafe]", "relay.example.org.evil.example", "EVIL.example"]
)


@pytest.fixture
def whole(house: House) -> Api:
    return create_app(house.context, more=openai.ROUTES)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    row=st.sampled_from(ROWS),
    host=HOSTS,
    ending=st.sampled_from(["", "", "/", "//", "/..", "?x=1"]),
    keyed=st.booleans(),
)
async def test_the_host_that_a_request_states_is_never_repeated_and_never_followed(
    house: House, whole: Api, row: tuple[str, str], host: str, ending: str, keyed: bool
) -> None:
    method, path = row
    if path.startswith("/v1/events/stream") or path.endswith("/test"):
        return  # do not end by themselves here
    headers = {name: f"host={host}" if name == "forwarded" else host for name in STATED}
    if keyed:
        headers["authorization"] = f"Bearer {house.key}"
    transport = httpx.ASGITransport(app=whole, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://anything.test") as client:
        answer = await client.request(method, re.sub(r"\{[^}]+\}", "x", path) + ending, headers=headers)
    said = answer.text + str(answer.headers)
    assert "evil" not in said.lower() and "bad:cafe" not in said and "anything.test" not in said
    assert not answer.has_redirect_location
    assert answer.status_code < 500
