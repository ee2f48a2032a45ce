from __future__ import annotations

import asyncio
import itertools
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest

from service.api.app import create_app
from service.api.context import Limits
from service.api.query import position_cursor
from service.net.connection import Connection, Patience
from service.net.server import Server, listen, uvicorn_config
from service.pipeline.watch import Watch
from storage import feed, outbox
from storage.database import Database, Unit
from storage.errors import Unavailable
from storage.feed import EventFilter
from storage.records import Event
from tests.service.api.house import House, until

PATH = "/v1/events/stream"
NUMBERS = itertools.count()


@dataclass(slots=True)
class Link:
    """One open stream as a client sees it. `id`: what a browser would send as Last-Event-ID."""

    answer: httpx.Response
    lines: AsyncIterator[str] = field(init=False)  # not httpx's, which also ends a line at U+2028
    id: str | None = None
    comments: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lines = self._lines()

    async def _lines(self) -> AsyncIterator[str]:
        rest = b""
        async for part in self.answer.aiter_bytes():
            *whole, rest = (rest + part).split(b"\n")
            for line in whole:
                yield line.decode()

    async def block(self) -> dict[str, str] | None:
        """The next block, by the rules of server-sent events; None when the stream has ended."""
        found: dict[str, str] = {}
        async with asyncio.timeout(30):
            async for line in self.lines:
                if not line:
                    self.id = found.get("id", self.id)
                    return found
                name, _, value = line.partition(": ")
                if name:
                    found[name] = value
                else:
                    self.comments.append(line.removeprefix(": "))
        return None

    async def event(self) -> dict[str, str]:
        """The next event."""
        while (found := await self.block()) is not None:
            if "data" in found:
                return found
        raise AssertionError("the stream has ended")

    async def end(self) -> None:
        """Read until the server ends it."""
        while await self.block() is not None:
            continue


class Site:
    """A house behind a real server on a real socket."""

    def __init__(self, house: House, server: Server, port: int) -> None:
        self.house, self.server, self.port = house, server, port
        self.client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {house.key}"}
        )

    @asynccontextmanager
    async def stream(self, query: str = "", **headers: str) -> AsyncIterator[Link]:
        """An open stream, its opening block read."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client.stream("GET", f"{PATH}?{query}".rstrip("?"), headers=named) as answer:
            assert answer.status_code == 200, await answer.aread()
            link = Link(answer)
            assert (await link.block() or {}).keys() == {"retry", "id"}
            yield link

    async def tell(self, count: int = 1, *, ring: bool = True, **more: object) -> list[str]:
        """New events of the project; returns their ids in order."""
        made = [self.event(**more) for _ in range(count)]
        await self.house.context.database.write(lambda tx: outbox.publish(tx, made, []))
        if ring:
            self.house.context.watch.changed([self.house.project_id])
        return [one.id for one in made]

    def event(self, **more: Any) -> Event:
        """One of the project that nobody has told yet."""
        number = next(NUMBERS)
        row: dict[str, Any] = {
            "id": f"evt_{number:026}",
            "project_id": self.house.project_id,
            "task_id": f"task_{number:026}",
            "provider": "cloudsway",
            "model": "kling-3.0-turbo",
            "type": "task.succeeded",
            "sequence": 1,
            "created_at": self.house.clock(),
            "body": b'{"id":"evt_%026d","type":"task.succeeded","text":"na\xc3\xafve \xe2\x80\xa8 \\n"}' % number,
        }
        return Event(**{**row, **more})

    async def stored(self) -> list[Event]:
        """The feed as the database has it."""
        read = self.house.context.database.read
        found = await read(lambda tx: feed.page(tx, self.house.project_id, EventFilter(), after=0, limit=100_000))
        return list(found.events)


@asynccontextmanager
async def serving(
    house: House, *, watch: Watch | None = None, database: Database | None = None, **limits: Any
) -> AsyncIterator[Site]:
    house.context = replace(
        house.context,
        limits=Limits(**limits),
        watch=watch or house.context.watch,
        database=database or house.context.database,
    )
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = Server(uvicorn_config(create_app(house.context), "127.0.0.1", 0))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    await server.ready.wait()
    site = Site(house, server, port)
    try:
        yield site
    finally:
        house.context.watch.close()
        server.should_exit = True
        await asyncio.wait_for(running, 30)
        await site.client.aclose()


@pytest.fixture
async def site(house: House) -> AsyncIterator[Site]:
    async with serving(house) as made:
        yield made


async def test_an_event_comes_as_it_is_signed_with_its_type_and_id(site: Site) -> None:
    async with site.stream() as link:
        [told] = await site.tell(type="task.failed")
        found = await link.event()
        assert (found["id"], found["event"]) == (told, "task.failed")
        [stored] = await site.stored()
        assert found["data"].encode() == stored.body == (await site.client.get(f"/v1/events/{told}")).content
        headers = link.answer.headers
        assert headers["content-type"].startswith("text/event-stream") and "content-length" not in headers
        assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")


async def test_it_begins_now_unless_a_place_is_named_and_the_header_is_the_later_word(site: Site) -> None:
    first, second, third = await site.tell(3)
    async with site.stream() as link:
        [fourth] = await site.tell()
        assert (await link.event())["id"] == fourth
    async with site.stream(f"after={first}") as link:
        assert (await link.event())["id"] == second
    async with site.stream(f"after={first}", last_event_id=second) as link:
        assert (await link.event())["id"] == third
    page = (await site.client.get("/v1/events?limit=2")).json()
    async with site.stream(last_event_id=page["next"]) as link:
        assert (await link.event())["id"] == third
    async with site.stream("created_after=1970-01-01T00:00:00Z") as link:
        assert [(await link.event())["id"] for _ in range(4)] == [first, second, third, fourth]


async def test_who_is_cut_off_before_the_first_event_misses_nothing(site: Site) -> None:
    await site.tell()
    async with site.stream() as link:
        place = link.id
    missed = await site.tell(2)
    assert place is not None
    async with site.stream(last_event_id=place) as link:
        assert [(await link.event())["id"] for _ in range(2)] == missed


async def test_only_what_is_wanted_comes_and_the_place_goes_on_all_the_same(house: House) -> None:
    async with serving(house, heartbeat_seconds=0.05) as site:
        async with site.stream("type=endpoint.*,task.failed") as link:
            await site.tell(40)
            wanted = [*await site.tell(type="endpoint.failing"), *await site.tell(type="task.failed")]
            assert [(await link.event())["id"] for _ in wanted] == wanted
            await site.tell()
            last = feed.position((await site.stored())[-1])
            while (life := await link.block()) == {}:  # a sign of it, sent before the feed was read again
                pass
            assert life == {"id": position_cursor(last)}
            place = link.id
        assert place is not None
        async with site.stream(f"after={place}") as link:
            [next] = await site.tell()
            assert (await link.event())["id"] == next
        async with site.stream(f"task=task_{next.removeprefix('evt_')}&created_after=1970-01-01T00:00:00Z") as link:
            assert (await link.event())["id"] == next


async def test_a_sign_of_life_comes_while_nothing_happens(house: House) -> None:
    async with serving(house, heartbeat_seconds=0.02) as site, site.stream() as link:
        assert [await link.block(), await link.block()] == [{}, {}]
        assert link.comments == ["still here", "still here"]


async def test_what_nobody_rang_for_is_found_all_the_same(house: House) -> None:
    async with serving(house, watch=Watch(look_again_seconds=0.01)) as site, site.stream() as link:
        told = await site.tell(ring=False)
        assert [(await link.event())["id"]] == told


@pytest.mark.parametrize("where", ["header", "query"])
async def test_a_place_from_where_something_would_be_missed_is_refused(
    site: Site, where: str, calling: Callable[[str], httpx.AsyncClient]
) -> None:
    async def refusal(stated: str) -> tuple[int, str]:
        headers, params = ({"last-event-id": stated}, {}) if where == "header" else ({}, {"after": stated})
        answer = (await site.client.get(PATH, headers=headers, params=params)).json()
        return answer["status"], answer["code"]

    [_, mine] = await site.tell(2)
    [foreign] = await site.tell(project_id="prj_other")
    assert await refusal("evt_" + "9" * 26) == await refusal(foreign) == (404, "not_found")
    assert await refusal("nonsense") == await refusal("evt_1") == (422, "invalid")
    first, second = map(feed.position, await site.stored())
    beyond = position_cursor(1 << 60)
    assert await refusal(beyond) == (422, "invalid")  # an older copy of the database was brought back
    forget = "UPDATE projects SET forgotten = :place WHERE id = :id"
    gone = {"id": site.house.project_id, "place": second}
    await site.house.context.database.write(lambda tx: tx.fetch(forget, gone))
    assert await refusal(position_cursor(first)) == (410, "events_gone")
    async with site.stream(last_event_id=mine):
        pass


@pytest.mark.parametrize("query", ["limit=1", "type=task.done", "type=", "wait=1", "created_after=now", "order=desc"])
async def test_a_bad_parameter_is_refused(site: Site, query: str) -> None:
    assert (await site.client.get(f"{PATH}?{query}")).status_code == 422


async def test_a_head_request_is_answered_at_once(site: Site) -> None:
    answer = await site.client.head(PATH)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
    assert site.house.context.streaming == {}


async def test_a_project_and_the_process_have_so_many_streams_and_a_place_is_free_again(house: House) -> None:
    async with serving(house, streams=2, project_streams=1) as site:
        other = {"authorization": f"Bearer {house.keys['stranger']}"}
        async with site.stream(), site.stream(**other):
            refused = await site.client.get(PATH)
            assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
            assert int(refused.headers["retry-after"]) > 0
        await until(lambda: not house.context.streaming)
        house.context.streaming["prj_elsewhere"] = 2
        full = await site.client.get(PATH)
        assert (full.status_code, full.headers["retry-after"]) == (503, "30")
        house.context.streaming.clear()
        async with site.stream():
            pass


async def test_a_stop_ends_every_stream_in_words_and_at_once(house: House) -> None:
    async with serving(house) as site, site.stream() as link:
        [told] = await site.tell()
        assert (await link.event())["id"] == told
        house.context.watch.close()
        site.server.should_exit = True
        await link.end()  # whole: httpx raises when a chunked answer is cut
        assert link.comments == ["this connection ends here, connect again"]
        assert link.id == told
    assert not house.context.streaming


async def test_a_revoked_key_ends_its_stream(house: House) -> None:
    async with serving(house, heartbeat_seconds=0.02) as site, site.stream() as link:
        revoke = "UPDATE api_keys SET revoked_at = 1 WHERE project_id = :id"
        await house.context.database.write(lambda tx: tx.fetch(revoke, {"id": house.project_id}))
        await link.end()
        assert (await site.client.get(PATH)).status_code == 401


class Flaky:
    """A database that can be told to fail, and counts how often it was read."""

    def __init__(self, inner: Database) -> None:
        self.inner, self.fails, self.reads = inner, False, 0

    async def read(self, unit: Unit[Any], /) -> Any:
        if self.fails:
            raise Unavailable("the disk is gone")
        found = await self.inner.read(unit)
        self.reads += 1
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


async def test_a_database_that_fails_ends_the_stream_and_the_client_may_come_again(house: House) -> None:
    flaky = Flaky(house.context.database)
    async with serving(house, database=flaky, watch=Watch(look_again_seconds=0.01)) as site:
        async with site.stream() as link:
            flaky.fails = True
            await link.end()
            assert (await site.client.get(PATH)).status_code == 503
        flaky.fails = False
        told = await site.tell()
        async with site.stream(last_event_id=link.id or "") as link:
            assert [(await link.event())["id"]] == told


async def test_a_stream_that_has_caught_up_rests(house: House) -> None:
    counted = Flaky(house.context.database)
    async with serving(house, database=counted) as site, site.stream() as link:
        await site.tell()
        await link.event()
        before = counted.reads
        for _ in range(30):  # time for a loop that does not rest to read dozens of times
            await site.client.get("/livez")
        assert counted.reads <= before + 1


async def test_who_does_not_read_holds_up_himself_alone_and_is_cut_off(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection, "patience", Patience(unread_seconds=600))
    async with serving(house) as site:
        asleep = socket.socket()
        asleep.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        asleep.setblocking(False)
        await asyncio.get_running_loop().sock_connect(asleep, ("127.0.0.1", site.port))
        ask = f"GET {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {house.key}\r\n\r\n"
        await asyncio.get_running_loop().sock_sendall(asleep, ask.encode())
        await until(lambda: house.context.streaming.total() == 1)
        async with site.stream() as awake:
            told = await site.tell(60, body=b'"%s"' % (b"x" * 200_000))
            assert [(await awake.event())["id"] for _ in told] == told
            assert house.context.streaming.total() == 2  # the sleeper still waits, with one part in hand
            monkeypatch.setattr(Connection, "patience", Patience(unread_seconds=0.1))
            async with asyncio.timeout(60):
                while house.context.streaming.total() == 2:  # noqa: ASYNC110 (the server looks at its clients by its own clock)
                    await asyncio.sleep(0.05)
        asleep.close()


async def test_whatever_is_written_when_and_however_often_the_line_breaks_every_event_comes_once_in_order(
    house: House,
) -> None:
    chance = random.Random(7)
    written = asyncio.Event()

    async def writer(site: Site, batches: int) -> None:
        for _ in range(batches):
            await site.tell(chance.randint(1, 45), ring=chance.random() < 0.8)
            for _ in range(chance.randint(0, 20)):
                await asyncio.sleep(0)

    async def writers(site: Site) -> None:
        await asyncio.gather(*(writer(site, 12) for _ in range(3)))
        written.set()

    async with serving(house, watch=Watch(look_again_seconds=0.01), heartbeat_seconds=0.02) as site:
        writing = asyncio.create_task(writers(site))
        seen: list[str] = []
        place: str | None = None
        connections = 0
        query = "created_after=1970-01-01T00:00:00Z"
        while not written.is_set() or len(seen) < len(await site.stored()):
            connections += 1
            async with site.stream(query, **({"last_event_id": place} if place else {})) as link:
                for _ in range(chance.randint(0, 80)):
                    found = await link.block()  # an event or a sign of life
                    if found is not None and "data" in found:
                        seen.append(found["id"])
                place = link.id
        await writing
        assert seen == [one.id for one in await site.stored()]
        assert connections > 5 and len(seen) > 300
