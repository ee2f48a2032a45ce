from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import httpx
import pytest
import uvicorn

from service.api.app import Api
from service.net.server import uvicorn_config
from tests.service.api.house import House, order, until


@pytest.fixture
async def served(app: Api) -> AsyncIterator[int]:
    """The application behind a real server on a real socket; gives its port."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn_config(app, "127.0.0.1", 0))
    running = asyncio.create_task(server.serve(sockets=[listening]))
    await until(lambda: server.started)
    yield int(listening.getsockname()[1])
    server.should_exit = True
    await running


@contextlib.asynccontextmanager
async def link(port: int) -> AsyncIterator[Callable[[bytes], Awaitable[bytes]]]:
    """A bare connection: sends bytes, gives what comes back first."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def exchange(raw: bytes) -> bytes:
        writer.write(raw)
        async with asyncio.timeout(30):
            return await reader.read(65536)

    yield exchange
    writer.close()
    await writer.wait_closed()


async def test_a_task_is_created_pushed_and_followed_over_a_real_socket(house: House, served: int) -> None:
    headers = {"authorization": f"Bearer {house.key}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{served}", headers=headers) as client:
        created = await client.post("/v1/tasks", json=order())
        assert created.status_code == 202 and "server" not in created.headers
        task = created.json()["id"]
        token = house.context.tokens.callback("cloudsway", await house.bought(task))
        pushed = await client.post(f"/callbacks/cloudsway/{token}", content=b'{"id":"job-1","status":"processing"}')
        assert (pushed.status_code, pushed.content) == (200, b"{}")
        assert (await client.get(f"/v1/tasks/{task}")).json()["status"] == "processing"


async def test_two_mebibytes_are_refused_and_the_connection_is_still_good(house: House, served: int) -> None:
    headers = {"authorization": f"Bearer {house.key}", "content-type": "application/json"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{served}", headers=headers) as client:
        assert (await client.post("/v1/tasks", content=b"x" * (2 << 20))).status_code == 413
        assert (await client.get("/v1/tasks")).json()["data"] == []


async def test_a_strangers_push_is_answered_before_its_body_is_sent(served: int) -> None:
    async with link(served) as exchange:
        head = b"POST /callbacks/cloudsway/x HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 100000\r\n\r\n"
        answer = await exchange(head)
    assert answer.startswith(b"HTTP/1.1 404 ") and b"evil.example" not in answer


async def test_a_host_is_never_reflected(served: int) -> None:
    async with link(served) as exchange:
        for path in (b"/", b"/v1/tasks/", b"/callbacks/cloudsway/x/", b"/o/x"):
            answer = await exchange(b"GET " + path + b" HTTP/1.1\r\nHost: evil.example\r\n\r\n")
            assert b"evil.example" not in answer and not answer.startswith(b"HTTP/1.1 30")


async def test_bytes_in_the_authorization_header_are_a_401(served: int) -> None:
    async with link(served) as exchange:
        answer = await exchange(b"GET /v1/tasks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xc3\xa9\xff\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 401 ") and b"Make one: taskrelay keys create" in answer


async def test_two_lengths_are_refused(served: int) -> None:
    async with link(served) as exchange:
        both = b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"
        answer = await exchange(b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\n" + both + b"\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_what_is_no_http_is_turned_away_and_a_lifespan_is_granted(app: Api) -> None:
    sent: list[str] = []
    coming: Iterator[dict[str, object]] = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> dict[str, object]:
        return next(coming)

    async def send(message: dict[str, object]) -> None:
        sent.append(str(message["type"]))

    await app({"type": "lifespan"}, receive, send)  # type: ignore[arg-type]
    await app({"type": "websocket"}, receive, send)  # type: ignore[arg-type]
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete", "websocket.close"]


async def test_every_page_leads_to_the_next_by_a_link(house: House, client: httpx.AsyncClient) -> None:
    for n in range(3):
        made = await client.post("/v1/tasks", json=order(metadata={"n": "a b&c"}, model="kling-3.0-turbo"))
        await house.succeeded(made.json()["id"], f"job-{n}")
        await client.post("/v1/endpoints", json={"url": f"https://10.1.0.1/{n}"})
        await client.post("/v1/keys", json={"name": f"k{n}", "scopes": ["read"]})
        await client.post("/v1/projects", json={"name": f"p{n}"})
    for path in (
        "/v1/tasks?metadata.n=a+b%26c",
        "/v1/endpoints",
        "/v1/keys",
        "/v1/projects",
        "/v1/events",
        "/v1/events?order=desc",
        "/v1/audit/log",
        "/v1/usage?group_by=metadata.n",
    ):
        whole = [one.get("id", one) for one in (await client.get(path)).json()["data"]]
        url, found = f"{path}{'&' if '?' in path else '?'}limit=1", list[object]()
        while url:
            answer = await client.get(url)
            found += [one.get("id", one) for one in answer.json()["data"]]
            assert answer.json()["has_more"] == ("link" in answer.headers)
            url = answer.links["next"]["url"] if "link" in answer.headers else ""
            assert not url or url.startswith("https://relay.example.org/v1/"), "never the Host that was stated"
        assert found == whole, path


async def test_every_get_takes_head_and_what_a_path_takes_is_told_to_whoever_asks_otherwise(
    client: httpx.AsyncClient,
) -> None:
    got, head = await client.get("/v1/tasks"), await client.head("/v1/tasks")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", got.headers["content-length"])
    for method in ("OPTIONS", "PUT", "TRACE"):
        told = await client.request(method, "/v1/tasks")
        assert (told.status_code, told.headers["allow"]) == (405, "GET, HEAD, POST")
        assert told.json()["request_id"] == told.headers["x-request-id"]


async def test_every_answer_has_a_request_id_of_its_own(house: House, client: httpx.AsyncClient) -> None:
    made = await client.post("/v1/tasks", json=order())
    token = house.context.tokens.callback("cloudsway", await house.bought(made.json()["id"]))
    told = [
        made,
        await client.get("/v1/nowhere"),
        await client.get("/livez"),
        await client.get("/o/x"),
        await client.post(f"/callbacks/cloudsway/{token}", content=b"{}"),
        await client.post("/callbacks/cloudsway/x", content=b"{}"),
        await client.get("/callbacks/cloudsway/x"),
    ]
    assert len({one.headers["x-request-id"] for one in told}) == len(told)
    for one in told:
        if one.status_code >= 400:
            assert one.json()["request_id"] == one.headers["x-request-id"]


async def test_a_path_that_anothers_placeholder_would_take_refuses_in_its_own_name(client: httpx.AsyncClient) -> None:
    for method in ("GET", "HEAD", "DELETE", "OPTIONS"):
        told = await client.request(method, "/v1/tasks/resolve")
        assert (told.status_code, told.headers["allow"]) == (405, "POST"), method
    told = await client.delete("/v1/events/stream")
    assert (told.status_code, told.headers["allow"]) == (405, "GET, HEAD")
