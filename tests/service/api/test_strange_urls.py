"""Wherever a client may name a URL, a trick is refused with its place, and nothing falls over."""

from __future__ import annotations

import json

import httpx

from tests.service.api.house import House, order
from tests.service.net.test_address import GLOBAL_IN_NAME_ONLY, SPECIAL
from tests.service.net.test_url import CORPUS

GOOD = "https://app.example.org/hooks"
# The house allows 10.1.0.0/16, on port 443.
POLICY = [
    *("http://app.example.org/", "https://app.example.org:22/", "https://app.example.org:80/", "http://93.184.216.34/"),
    *("https://localhost/", "https://a.localhost/", "https://metadata.google.internal/", "https://relay.example.org/x"),
    *("https://RELAY.example.org/", "https://10.2.0.1/", "http://10.1.0.1:8080/", "https://[::ffff:169.254.169.254]/"),
]
ADDRESSES = [
    f"https://[{text}]/" if ":" in text else f"https://{text}/" for text in (GLOBAL_IN_NAME_ONLY + SPECIAL).split()
]
URLS = [*CORPUS, *POLICY, *ADDRESSES]


async def refused(client: httpx.AsyncClient, method: str, path: str, body: dict[str, object], place: str) -> list[str]:
    """What the answer to this body has against the URL, if it is none that a client can learn from."""
    # Escaped by hand: half a character can be written in JSON, though not in UTF-8.
    answer = await client.request(
        method, path, content=json.dumps(body).encode(), headers={"content-type": "application/json"}
    )
    if answer.status_code == 400 and "\\ud800" in json.dumps(body):
        return []
    places = [fault["pointer"] for fault in answer.json().get("errors", ())]
    return [] if (answer.status_code, places) == (422, [place]) else [f"{answer.status_code} {places} {body}"]


async def test_every_trick_is_refused_when_an_endpoint_is_made_or_changed(
    client: httpx.AsyncClient, house: House
) -> None:
    made = (await client.post("/v1/endpoints", json={"url": GOOD})).json()
    wrong = []
    for url in URLS:
        wrong += await refused(client, "POST", "/v1/endpoints", {"url": url}, "/url")
        wrong += await refused(client, "PATCH", f"/v1/endpoints/{made['id']}", {"url": url}, "/url")
    assert len(URLS) > 140 and wrong == []
    assert (await client.get(f"/v1/endpoints/{made['id']}")).json()["url"] == GOOD
    assert (await house.sizes())["endpoints"] == 1


async def test_every_trick_is_refused_as_the_url_of_a_task(client: httpx.AsyncClient, house: House) -> None:
    wrong = []
    for url in URLS:
        wrong += await refused(client, "POST", "/v1/tasks", order(webhook_url=url), "/webhook_url")
    assert wrong == []
    assert (await house.sizes())["tasks"] == 0


async def test_a_url_that_is_no_text_is_refused_too(client: httpx.AsyncClient) -> None:
    for value in (None, 5, True, [], {}, [GOOD], {"url": GOOD}):
        assert await refused(client, "POST", "/v1/endpoints", {"url": value}, "/url") == []
        if value is not None:  # a task needs none
            assert await refused(client, "POST", "/v1/tasks", order(webhook_url=value), "/webhook_url") == []


async def test_what_the_operator_allows_passes(client: httpx.AsyncClient) -> None:
    for url in (GOOD, "https://10.1.2.3/x", "http://10.1.2.3:443/x"):
        assert (await client.post("/v1/endpoints", json={"url": url})).status_code == 201
