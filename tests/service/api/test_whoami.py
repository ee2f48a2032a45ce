from __future__ import annotations

import httpx

from tests.service.api.house import House


async def test_whoami_names_key_project_and_scopes(client: httpx.AsyncClient, house: House) -> None:
    told = (await client.get("/v1/whoami")).json()
    assert (told["project"], told["scopes"]) == ({"id": house.project_id, "name": "default"}, ["admin"])
    assert house.key not in str(told)
