from __future__ import annotations

import httpx

from tests.service.api.house import House


async def test_whoami_names_key_project_and_scopes(client: httpx.AsyncClient, house: House) -> None:
    told = (await client.get("/v1/whoami")).json()
    project = {"id": house.project_id, "name": "default", "budget": None, "max_open_tasks": None}
    assert (told["project"], told["scopes"]) == (project, ["admin"])
    assert told["prefix"] == house.key[:12] and house.key not in str(told)
    assert told["last_used_at"] is not None, "by this very request"
