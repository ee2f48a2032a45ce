from __future__ import annotations

import httpx
import pytest

from service.api.openapi.open_doors import OPERATIONS
from tests.service.api import witness
from tests.service.api.house import House


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/", "/docs/problems", "/openapi.json", "/docs"])
async def test_what_needs_no_key_answers_without_one_as_described(house: House, app: object, path: str) -> None:
    async with house.client(app, "") as nobody:  # type: ignore[arg-type]
        answer = await nobody.get(path)
    assert answer.status_code == 200
    assert ("GET", path) in OPERATIONS and OPERATIONS["GET", path].scopes == ()


async def test_metrics_are_for_who_runs_the_installation(house: House, client: httpx.AsyncClient, app: object) -> None:
    assert OPERATIONS["GET", "/metrics"].scopes == ("admin",)
    assert (await client.get("/metrics")).status_code == 200
    async with house.client(app, await house.key_with("read")) as reader:  # type: ignore[arg-type]
        assert (await reader.get("/metrics")).status_code == 403


def test_a_push_may_be_anything() -> None:
    body = OPERATIONS["POST", "/callbacks/{provider}/{token}"].body
    assert body is not None and body.media_type == "*/*"
    assert witness.wrong(body.schema, {"any": ["thing"]}, strict=True) == []
