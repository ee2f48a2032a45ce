from __future__ import annotations

import httpx

from service.api.app import Api
from service.core import signature
from tests.service.api.house import House


async def test_the_projects_secret_is_shown_to_who_manages_endpoints(client: httpx.AsyncClient, house: House) -> None:
    shown = await client.get("/v1/projects/current/secret")
    assert (shown.status_code, shown.json()["project"]) == (200, house.project_id)
    assert len(signature.decode_secret(shown.json()["secret"])) == 24
    assert shown.headers["cache-control"] == "no-store"


async def test_a_key_that_only_reads_does_not_see_it(app: Api, house: House) -> None:
    async with house.client(app, await house.key_with("read", "tasks")) as reader:
        refused = await reader.get("/v1/projects/current/secret")
    assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")
