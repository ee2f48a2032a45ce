"""C8, and hostile bodies: ten thousand forged tokens cost no database; ten thousand hostile bodies at most ring.

A few hundred requests here; `make fuzz` sends ten thousand of each kind.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from service.api.app import Api, create_app
from service.core.keys import Keyring
from service.core.tokens import Tokens
from service.net.server import uvicorn_config
from service.pipeline.accounts import AccountDesk, Callbacks
from service.pipeline.recorder import Recorder
from service.providers.registry import PROVIDERS
from storage import projects, submissions, tasks
from storage.database import Connection, Database, T, Unit
from storage.records import Submission, TaskStatus
from tests import engines
from tests.outside import Outside
from tests.service.api import hostile
from tests.service.api.house import House, account, desk, until
from tests.service.pipeline.parties import Wrapped
from tests.storage.builders import submission, task
from tests.storage.conftest import Clock

pytestmark = pytest.mark.slow  # `make fuzz` runs it, in CI with a slice of the examples

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))
# All examples share the fixture's service.
ONE_HOUSE: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "report_multiple_bugs": False,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
}
thorough = settings(max_examples=EXAMPLES, **ONE_HOUSE)
over_a_socket = settings(max_examples=max(EXAMPLES // 5, 50), **ONE_HOUSE)
REQUEST_ID = re.compile(rb"req_[0-9A-Z]{26}")  # another one each time, and nothing else
SECRET = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0"
MODES = {
    "verify": (Callbacks.VERIFY, None),
    "trust": (Callbacks.TRUST, None),
    "trust-signed": (Callbacks.TRUST, SECRET),
    "off": (Callbacks.OFF, None),
}
# What no push that decides nothing may change; `lanes` hold the bell.
SETTLED = ("tasks", "submissions", "timeline", "events", "deliveries", "callbacks", "api_keys", "projects")


class Watched(Wrapped):
    """Counts the units it is asked to run."""

    def __init__(self, inner: Database) -> None:
        super().__init__(inner)
        self.units = 0

    async def write(self, unit: Unit[T], /) -> T:
        self.units += 1
        return await super().write(unit)

    async def read(self, unit: Unit[T], /) -> T:
        self.units += 1
        return await super().read(unit)


@dataclass
class Yard:
    """A service with a task at each provider, and the tokens that its pushes would carry."""

    app: Api
    tokens: Tokens
    database: Watched
    clock: Clock
    outside: Outside
    port: int = 0
    foreign: Sequence[str] = ()
    nothing: list[tuple[Any, ...]] = field(default_factory=list)

    def path(self, provider: str) -> str:
        return f"/callbacks/{provider}/{self.ours[provider]}"

    @property
    def ours(self) -> dict[str, str]:
        """The good token of each provider."""
        return {name: self.tokens.callback(name, f"sub_{name}") for name in PROVIDERS}

    def written(self) -> tuple[int, int]:
        """Changes with every commit and with every unit of work."""
        return self.outside.version(), self.database.units

    def rows(self, *tables: str) -> list[list[Any]]:
        return [self.outside.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]  # noqa: S608

    async def send(
        self, path: str, body: Sequence[bytes] = (), headers: Sequence[tuple[bytes, bytes]] = (), method: str = "POST"
    ) -> tuple[int, tuple[Any, ...], int]:
        """One request straight to the application: status, what was answered, how many parts of the body were read."""
        sent: list[dict[str, Any]] = []
        parts = [{"type": "http.request", "body": part, "more_body": True} for part in body]
        coming = iter([*parts, {"type": "http.request", "body": b"", "more_body": False}])
        read = 0

        async def receive() -> dict[str, Any]:
            nonlocal read
            read += 1
            return next(coming)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "headers": list(headers)}
        await self.app(scope, receive, send)
        start, content = sent
        return (
            start["status"],
            (REQUEST_ID.sub(b"req_", str(start).encode()), REQUEST_ID.sub(b"req_", content["body"])),
            read,
        )


@pytest.fixture
def mode() -> str:
    return "verify"


@pytest.fixture
async def yard(house: House, tmp_path: Path, mode: str) -> AsyncIterator[Yard]:
    context = house.context
    callbacks, secret = MODES[mode]
    accounts: dict[str, AccountDesk] = {
        name: account(name, name, context.public_url, callbacks=callbacks, webhook_secret=secret) for name in PROVIDERS
    }
    database = Watched(context.database)
    rules = desk(accounts, context.tokens, house.clock, context.entropy)
    recorder = Recorder(database, rules, arrived=context.watch.recorded)
    app = create_app(replace(context, accounts=accounts, database=database, recorder=recorder))
    made = [
        task(f"task_{name}", project_id=house.project_id, account=name, provider=name, provider_task_id="job-1",
             status=TaskStatus.PROCESSING, phase="running", submissions=1, submitted_at=house.clock())
        for name in PROVIDERS
    ]  # fmt: skip
    bought: list[Submission] = [submission(f"sub_{name}", f"task_{name}", account=name) for name in PROVIDERS]

    async def plant(tx: Connection) -> None:
        for one in made:
            await tasks.insert(tx, one)
        await submissions.insert(tx, bought)

    await context.database.write(plant)
    outside = Outside(await engines.address(tmp_path, house.clock))
    built = Yard(app=app, tokens=context.tokens, database=database, clock=house.clock, outside=outside)
    here = await context.database.read(projects.installation)
    strangers = [Tokens(context.keyring, "elsewhere"), Tokens(Keyring([b"x" * 32]), here)]
    built.foreign = [
        context.tokens.output("task_cloudsway"),
        *(stranger.callback("cloudsway", "sub_cloudsway") for stranger in strangers),
    ]
    yield built
    await recorder.drain()
    outside.close()


# Tokens


@thorough
@given(more=st.data(), method=st.sampled_from(["POST"] * 9 + ["GET", "PUT", "DELETE", "OPTIONS", "HEAD", "post", ""]))
async def test_c08_a_bad_token_costs_no_database_and_no_reading_and_every_one_looks_the_same(
    yard: Yard, more: st.DataObject, method: str
) -> None:
    path = more.draw(hostile.bad_paths(yard.ours, yard.foreign))
    headers = more.draw(hostile.HEADERS)
    before = yard.written()
    status, said, read = await yard.send(path, [b"{}"], headers, method)
    assert yard.written() == before
    assert (status, read) == (404 if method == "POST" else 405, 0)
    if method == "POST":
        yard.nothing.append(said)
        assert said == yard.nothing[0]


async def test_c08_a_token_is_good_for_its_own_provider_installation_key_and_purpose_alone(yard: Yard) -> None:
    before = yard.written()
    for provider in (*PROVIDERS, "klingon"):
        for token in (*yard.ours.values(), *yard.foreign):
            if token != yard.ours.get(provider):
                status, said, read = await yard.send(f"/callbacks/{provider}/{token}", [b"{}"])
                yard.nothing.append(said)
                assert (status, read) == (404, 0)
    assert len(set(yard.nothing)) == 1
    assert yard.written() == before
    assert [(await yard.send(yard.path(name), [b"{}"]))[0] for name in PROVIDERS] == [200] * len(PROVIDERS)


async def test_c08_the_same_requests_with_a_good_token_are_told_from_bad_ones(yard: Yard) -> None:
    """So that the property above can fail: its way of looking sees one push."""
    before = yard.written()
    status, _, read = await yard.send(yard.path("cloudsway"), [b'{"id": "job-1", "status": "failed"}'])
    assert (status, read > 0) == (200, True)
    version, units = yard.written()
    assert version != before[0] and units > before[1]


# Bodies


def due(size: int, headers: Sequence[tuple[bytes, bytes]]) -> int:
    """What the door owes a push: 200, unless it is encoded or says that it is, or is, too big."""
    coding = b", ".join(value for name, value in headers if name == b"content-encoding").strip().lower()
    stated = b", ".join(value for name, value in headers if name == b"content-length")
    if coding not in (b"", b"identity"):
        return 415
    return 413 if size > hostile.CAP or (stated.isdigit() and int(stated) > hostile.CAP) else 200


@pytest.mark.parametrize("mode", MODES)
@thorough
@given(more=st.data(), provider=st.sampled_from(hostile.KINDS), coding=st.none() | hostile.ENCODINGS)
async def test_a_hostile_body_with_a_good_token_at_most_rings(
    yard: Yard, mode: str, more: st.DataObject, provider: str, coding: str | None
) -> None:
    # Where pushes decide, one that names our job is no attack but the truth; another job's may say what it likes.
    job = "job-2" if mode == "trust" else "job-1"
    body = more.draw(hostile.bodies(more.draw(st.sampled_from([f"task_{provider}", "task_2", ""])), job))
    headers = more.draw(hostile.HEADERS)
    if coding is not None:
        headers = [*headers, (b"content-encoding", coding.encode())]
        body = hostile.encoded(body, coding)
    pieces = more.draw(st.sampled_from([1, 1, 2, 50]))
    size = -(-len(body) // pieces) or 1
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    yard.clock.advance(0.001)
    before = yard.rows(*SETTLED)
    status, _, _ = await yard.send(yard.path(provider), parts, headers)
    assert status == due(len(body), headers)
    assert yard.rows(*SETTLED) == before
    [(observed,)] = yard.outside.rows("SELECT count(*) FROM observations WHERE source <> 'callback'")
    assert observed == 0


@pytest.mark.parametrize("mode", ["verify"])
@pytest.mark.parametrize("provider", hostile.KINDS)
async def test_every_body_at_the_edge_of_the_cap_is_kept_or_refused_and_rings(
    yard: Yard, mode: str, provider: str
) -> None:
    for size, status in ((hostile.CAP - 1, 200), (hostile.CAP, 200), (hostile.CAP + 1, 413)):
        for parts in (1, 7):
            body = b"%d" % parts + b" " * (size - 1)
            cut = [body[at : at + size // parts + 1] for at in range(0, size, size // parts + 1)]
            assert (await yard.send(yard.path(provider), cut))[0] == status
            yard.clock.advance(1)
    text = f"SELECT count(*) FROM observations WHERE verified_at IS NULL AND account = '{provider}'"  # noqa: S608
    assert yard.outside.rows(text) == [(6,)]


# Over real sockets


@pytest.fixture
async def served(yard: Yard) -> AsyncIterator[Yard]:
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn_config(yard.app, "127.0.0.1", 0))
    running = asyncio.create_task(server.serve(sockets=[listening]))
    await until(lambda: server.started)
    yard.port = int(listening.getsockname()[1])
    yield yard
    server.should_exit = True
    await running


async def exchange(port: int, raw: Sequence[bytes]) -> bytes:
    """Everything a server answers to these bytes until it is done with us; empty when it hung up on us."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(60):
            for part in raw:
                writer.write(part)
                await writer.drain()
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def without_date(answer: bytes) -> bytes:
    kept = b"\r\n".join(line for line in answer.split(b"\r\n") if not line.lower().startswith(b"date:"))
    return REQUEST_ID.sub(b"req_", kept)


def on_the_wire(path: str, loosely: bool) -> bytes:
    """The path as a careful client writes it, or as a careless one does."""
    raw = path.encode("utf-8", "surrogatepass")
    kept = b"/.-_~%" + (b"".join(bytes([at]) for at in range(0x21, 0x100) if at not in b"?#") if loosely else b"")
    return b"".join(
        bytes([one]) if (one < 128 and chr(one).isalnum()) or one in kept else b"%%%02X" % one for one in raw
    )


LINES = st.sampled_from(
    ["POST {path} HTTP/1.1"] * 8
    + [
        "POST http://other.example{path} HTTP/1.1",
        "POST {path} HTTP/1.0",
        "POST {path}?x={path} HTTP/1.1",
        "POST {path}#x HTTP/1.1",
    ]
)
FRAMES: list[tuple[bytes, list[bytes]]] = [
    (b"content-length: 2\r\n", [b"{}"]),
    (b"content-length: 0\r\n", []),
    (b"transfer-encoding: chunked\r\n", [b"2\r\n{}\r\n", b"0\r\n\r\n"]),
    (b"transfer-encoding: chunked\r\n", [b"2\r\n{}\r\n"] * 50),  # and no end
    (b"content-length: 2\r\ntransfer-encoding: chunked\r\n", [b"0\r\n\r\n"]),
    (b"content-length: 2\r\ncontent-length: 3\r\n", [b"{} "]),
    (b"content-length: -1\r\n", []),
    (b"expect: 100-continue\r\ncontent-length: 2\r\n", [b"{}"]),
    (b"content-length: 99999999999999999999\r\n", [b"{"]),
    (b"content-length: 5\r\n", [b"{"]),  # and goes away
    (b"transfer-encoding: gzip, chunked\r\n", [b"2\r\n{}\r\n0\r\n\r\n"]),
    (b"transfer-encoding: chunked\r\n", [b"ffffffffffffffff\r\n"]),
    (b"upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-key: x\r\n", []),
]


@over_a_socket
@given(more=st.data(), line=LINES, loosely=st.booleans(), frame=st.sampled_from(FRAMES))
@example(more=None, line="POST {path} HTTP/1.1", loosely=False, frame=FRAMES[0])
async def test_c08_a_bad_token_over_a_socket_costs_no_database_and_looks_the_same(
    served: Yard, more: st.DataObject | None, line: str, loosely: bool, frame: tuple[bytes, list[bytes]]
) -> None:
    plain = more is None
    path = "/callbacks/cloudsway/x" if more is None else more.draw(hostile.bad_paths(served.ours, served.foreign))
    head, body = frame
    before = served.written()
    target = line.encode().replace(b"{path}", on_the_wire(path, loosely))
    answer = await exchange(served.port, [target + b"\r\nhost: x\r\nconnection: close\r\n" + head + b"\r\n", *body])
    assert served.written() == before
    status = status_of(answer)
    assert status in ((404,) if plain else (404, 400, 0)), answer[:200]
    if status == 404:
        served.nothing.append((without_date(answer),))
        assert served.nothing[-1] == served.nothing[0]


@over_a_socket
@given(more=st.data(), frame=st.sampled_from(["length", "chunks", "one by one"]), coding=st.none() | hostile.ENCODINGS)
async def test_a_hostile_body_over_a_socket_at_most_rings(
    served: Yard, more: st.DataObject, frame: str, coding: str | None
) -> None:
    body = more.draw(hostile.bodies("task_cloudsway", "job-1"))
    head = b"POST " + served.path("cloudsway").encode() + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
    if coding is not None:
        head += b"content-encoding: " + coding.encode() + b"\r\n"
    served.clock.advance(0.001)
    before = served.rows(*SETTLED)
    if frame == "length":
        sent = [head + b"content-length: %d\r\n\r\n" % len(body), body]
    else:
        size = 1 if frame == "one by one" and len(body) < 300 else 1 << 14
        chunks = [body[at : at + size] for at in range(0, len(body), size)]
        sent = [head + b"transfer-encoding: chunked\r\n\r\n", *(b"%x\r\n%s\r\n" % (len(one), one) for one in chunks)]
        sent.append(b"0\r\n\r\n")
    status = status_of(await exchange(served.port, sent))
    refused_unread = len(body) > hostile.CAP or (coding is not None and len(body) > 4096)
    assert status in (200, 413, 415) or (status == 0 and refused_unread)  # who still sends may miss the answer
    assert served.rows(*SETTLED) == before


async def test_a_body_without_end_over_a_socket_is_cut_off_at_the_cap(served: Yard) -> None:
    head = b"POST " + served.path("cloudsway").encode() + b" HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    sent = 0
    writer.write(head)
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    answered = asyncio.ensure_future(reader.read(100))
    try:
        async with asyncio.timeout(60):
            while not answered.done() and sent < 64 << 20:
                writer.write(chunk)
                await writer.drain()
                sent += len(chunk)
    except ConnectionError:
        pass
    assert sent < 64 << 20
    with_status = await answered
    assert status_of(with_status) in (413, 0)
    writer.close()
    text = "SELECT count(*) FROM observations WHERE verified_at IS NULL AND claim = 'unknown'"
    assert served.outside.rows(text) == [(1,)]
