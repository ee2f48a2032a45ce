"""A18: bytes that two readers could understand differently, over real sockets. Each is read in the one way or refused.

Behind each case comes one more request. A connection that stayed in step answers it; one that refused says so, and nothing more.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from service.net.connection import PIPELINED
from tests.service.net.test_connection import NEVER, plain, serving, whole

AFTER = b"GET /after HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
GET, HOST = b"GET / HTTP/1.1\r\n", b"host: x\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
TWO = b"content-length: 2\r\n"

REFUSED = {
    "two ways to say the length": POST + TWO + b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    "the same, chunks first": POST + b"transfer-encoding: chunked\r\n" + TWO + b"\r\n2\r\nab\r\n0\r\n\r\n",
    "a length twice": POST + TWO + TWO + b"\r\nab",
    "two lengths": POST + TWO + b"content-length: 3\r\n\r\nabc",
    "a list of lengths": POST + b"content-length: 2, 2\r\n\r\nab",
    "a length with a sign": POST + b"content-length: +2\r\n\r\nab",
    "a negative length": POST + b"content-length: -2\r\n\r\nab",
    "a hexadecimal length": POST + b"content-length: 0x2\r\n\r\nab",
    "an empty length": POST + b"content-length: \r\n\r\nab",
    "a length in two parts": POST + b"content-length: 2 2\r\n\r\nab",
    "a length of 23 digits": POST + b"content-length: 99999999999999999999999\r\n\r\nab",
    "identity": POST + b"transfer-encoding: identity\r\n\r\nab",
    "gzip, then chunked": POST + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    "chunked, then gzip": POST + b"transfer-encoding: chunked, gzip\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    "chunked in chunks": POST + b"transfer-encoding: chunked, chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    "chunked twice": POST + b"transfer-encoding: chunked\r\n" * 2 + b"\r\n2\r\nab\r\n0\r\n\r\n",
    "nearly chunked": POST + b"transfer-encoding: xchunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    "chunked behind a tab of another kind": POST + b"transfer-encoding: \x0bchunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    "a blank before the colon": POST + b"transfer-encoding : chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": CHUNKED.replace(b"1.1", b"1.0") + b"2\r\nab\r\n0\r\n\r\n",
    "a folded header": GET + HOST + b"x: a\r\n b\r\n\r\n",
    "a folded coding": POST + b"transfer-encoding:\r\n chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    "a fold before the first header": GET + b" x: a\r\n" + HOST + b"\r\n",
    "a negative chunk": CHUNKED + b"-2\r\nab\r\n0\r\n\r\n",
    "a chunk of 0x2": CHUNKED + b"0x2\r\nab\r\n0\r\n\r\n",
    "a chunk of 17 digits": CHUNKED + b"fffffffffffffffff\r\nab\r\n0\r\n\r\n",
    "a blank behind the size": CHUNKED + b"2 \r\nab\r\n0\r\n\r\n",
    "a chunk that does not end": CHUNKED + b"2\r\nab0\r\n\r\n",
    "a chunk longer than its size": CHUNKED + b"2\r\nabc\r\n0\r\n\r\n",
    "chunks with bare line feeds": CHUNKED + b"2\nab\n0\n\n",
    "an extension with a bare line feed": CHUNKED + b"2;x\nab\r\n0\r\n\r\n",
    "a length behind the body": CHUNKED + b"2\r\nab\r\n0\r\ncontent-length: 9\r\n\r\n",
    "fifty thousand zeros": CHUNKED + b"0" * 50_000 + b"2\r\nab\r\n0\r\n\r\n",
    "an endless extension": CHUNKED + b"2;" + b"x" * 300_000 + b"\r\nab\r\n0\r\n\r\n",
    "an extension for each byte": CHUNKED + (b"1;" + b"x" * 100 + b"\r\na\r\n") * 1000 + b"0\r\n\r\n",
    "endless trailers": CHUNKED + b"2\r\nab\r\n0\r\n" + b"x: y\r\n" * 5000 + b"\r\n",
    "no host": GET + b"\r\n",
    "a host twice": GET + HOST + HOST + b"\r\n",
    "two hosts": GET + HOST + b"host: y\r\n\r\n",
    "a host with a path": GET + b"host: x/../y\r\n\r\n",
    "a list of hosts": GET + b"host: x, y\r\n\r\n",
    "a host with a user": GET + b"host: a@x\r\n\r\n",
    "a target of another scheme": b"GET ftp://x/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "a target without a path": b"GET http://x HTTP/1.1\r\n" + HOST + b"\r\n",
    "a target without a host": b"GET http:///x HTTP/1.1\r\n" + HOST + b"\r\n",
    "a target of a great port": b"GET http://x:99999999/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "a fragment": b"GET /#x HTTP/1.1\r\n" + HOST + b"\r\n",
    "a star that is got": b"GET * HTTP/1.1\r\n" + HOST + b"\r\n",
    "a target without a slash": b"GET x HTTP/1.1\r\n" + HOST + b"\r\n",
    "UTF-8 in the target": "GET /é HTTP/1.1\r\n".encode() + HOST + b"\r\n",
    "NUL in the target": b"GET /\x00 HTTP/1.1\r\n" + HOST + b"\r\n",
    "tabs in the request line": b"GET\t/\tHTTP/1.1\r\n" + HOST + b"\r\n",
    "NUL in a name": GET + HOST + b"x\x00y: 1\r\n\r\n",
    "a blank in a name": GET + HOST + b"x y: 1\r\n\r\n",
    "an empty name": GET + HOST + b": 1\r\n\r\n",
    "no colon": GET + HOST + b"xy\r\n\r\n",
    "UTF-8 in a name": GET + HOST + "é: 1\r\n\r\n".encode(),
    "NUL in a value": GET + HOST + b"x: a\x00b\r\n\r\n",
    "a control in a value": GET + HOST + b"x: a\x01b\r\n\r\n",
    "DEL in a value": GET + HOST + b"x: a\x7fb\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nhost: x\n\n",
    "one bare line feed": GET + b"host: x\nx: y\r\n\r\n",
    "a bare carriage return": GET + b"host: x\rx: y\r\n\r\n",
    "carriage returns at the end": GET + HOST + b"\r\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\n" + HOST + b"\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\n" + HOST + b"\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http/1.1": b"GET / http/1.1\r\n" + HOST + b"\r\n",
    "CONNECT": b"CONNECT example.org:443 HTTP/1.1\r\n" + HOST + b"\r\n",
    "CONNECT to a path": b"CONNECT / HTTP/1.1\r\n" + HOST + b"\r\n",
    "a method of its own": b"FOO / HTTP/1.1\r\n" + HOST + b"\r\n",
    "a method in lower case": b"get / HTTP/1.1\r\n" + HOST + b"\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + b"a" * 190,
    "SSH": b"SSH-2.0-OpenSSH_9\r\n",
}  # fmt: skip

READ = {
    "a length": (POST + TWO + b"\r\nab", [b"ab"]),
    "a length with zeros": (POST + b"content-length: 002\r\n\r\nab", [b"ab"]),
    "chunks": (CHUNKED + b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n", [b"ab"]),
    "Chunked": (POST + b"Transfer-Encoding: Chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", [b"ab"]),
    "an extension": (CHUNKED + b'2;a=b;c="d"\r\nab\r\n0\r\n\r\n', [b"ab"]),
    "a byte a chunk": (CHUNKED + b"1\r\na\r\n" * 20_000 + b"0\r\n\r\n", [b"a" * 20_000]),
    "a trailer": (CHUNKED + b"2\r\nab\r\n0\r\nauthorization: x\r\n\r\n", [b"ab"]),
    "a body with GET": (GET + HOST + TWO + b"\r\nab", [b"ab"]),
    "no name in the host": (GET + b"host: \r\n\r\n", [b""]),
    "a whole URL": (b"GET http://other.example/x HTTP/1.1\r\n" + HOST + b"\r\n", [b""]),
    "a star that is asked for options": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", [b""]),
    "a name with an underscore": (GET + HOST + b"content_length: 5\r\nhost_: y\r\n\r\n", [b""]),
    "latin-1 in a value": (GET + HOST + b"x: \xff\r\n\r\n", [b""]),
    "empty lines before": (b"\r\n\r\n" + GET + HOST + b"\r\n", [b""]),
    "three at once": ((GET + HOST + b"\r\n") * 3, [b""] * 3),
    "two with bodies at once": ((POST + TWO + b"\r\nab") * 2, [b"ab"] * 2),
    "two thousand at once": ((GET + HOST + b"x: a header of the usual length\r\n\r\n") * 2000, [b""] * 2000),
    "an upgrade to h2c": (GET + HOST + b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAM\r\n\r\n", [b""]),
    "an upgrade with a body": (POST + TWO + b"connection: upgrade\r\nupgrade: h2c\r\n\r\nab", [b"ab"]),
    "an upgrade with chunks": (CHUNKED[:-2] + b"connection: upgrade\r\nupgrade: h2c\r\n\r\n2\r\nab\r\n0\r\n\r\n", [b"ab"]),
    "an upgrade with an empty body": (POST + b"content-length: 0\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n", [b""]),
    "a web socket": (GET + HOST + b"connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\r\n", [b""]),
}  # fmt: skip


def answers(said: bytes) -> list[tuple[int, bytes]]:
    """Status and body of each answer; there is nothing between them and nothing behind."""
    found = []
    while said:
        head, _, rest = said.partition(b"\r\n\r\n")
        status = re.match(rb"HTTP/1\.1 ([0-9]{3}) ", head)
        length = re.search(rb"\r\ncontent-length: ([0-9]+)", head)
        assert status and length, said[:200]
        found.append((int(status[1]), rest[: int(length[1])]))
        said = rest[int(length[1]) :]
    return found


class Reader:
    """An application that notes what it was asked, the whole body too."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, bytes, list[bytes]]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                self.heard.append((scope["path"], body, [name for name, _ in scope["headers"]]))
                await plain(scope, receive, send)
                return


async def test_what_could_mean_two_things_is_refused_and_nothing_behind_it_is_read() -> None:
    app, wrong = Reader(), {}
    async with serving(app, NEVER, connections=1000, each=1000) as place:
        for name, said in REFUSED.items():
            reader, writer = await place.connect(said + AFTER)
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
            writer.write_eof()
            told = head.split()[1], json.loads(body).get("code"), await reader.read()
            if told != (b"400", "malformed_request", b""):
                wrong[name] = told
    assert wrong == {}
    assert "/after" not in {path for path, _, _ in app.heard}


async def test_what_means_one_thing_is_read_and_the_connection_stays_in_step() -> None:
    app, wrong = Reader(), {}
    async with serving(app, NEVER, connections=1000, each=1000) as place:
        for name, (said, bodies) in READ.items():
            app.heard.clear()
            told = answers(await place.heard(said + AFTER))
            if told != [(200, b"ok")] * (len(bodies) + 1) or [body for _, body, _ in app.heard] != [*bodies, b""]:
                wrong[name] = (told, list(app.heard))
            assert all(b"authorization" not in names for _, _, names in app.heard)  # no trailer is a header
    assert wrong == {}


@pytest.mark.parametrize("broken", [GET + b"\r\n", CHUNKED + b"x\r\n", b"nonsense\r\n\r\n"])
async def test_a_refusal_comes_behind_the_answers_to_whole_requests_before_it(broken: bytes) -> None:
    async with serving(whole, NEVER) as place:
        reader, writer = await place.connect((GET + HOST + b"\r\n") * 3 + broken)
        said = b"".join([await reader.readuntil(b"ok") for _ in range(3)])
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write_eof()
        rest = await reader.read()
    assert [status for status, _ in answers(said + head + rest)] == [200, 200, 200, 400]


async def test_far_too_many_requests_in_one_piece_are_refused_behind_the_first_ones() -> None:
    small = b"GET / HTTP/1.1\r\nhost:\r\n\r\n"
    async with serving(whole, NEVER) as place:
        reader, writer = await place.connect(small * (PIPELINED + 10))
        said = b"".join([await reader.readuntil(b"ok") for _ in range(PIPELINED + 1)])
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write_eof()
        statuses = [status for status, _ in answers(said + head + await reader.read())]
    assert statuses == [200] * (PIPELINED + 1) + [400]


@pytest.mark.parametrize("name", ["an upgrade with a body", "an upgrade with chunks"])
async def test_the_body_of_a_request_that_asks_for_an_upgrade_may_come_later(name: str) -> None:
    app = Reader()
    head, _, body = READ[name][0].partition(b"\r\n\r\n")
    async with serving(app, NEVER) as place:
        reader, writer = await place.connect(head + b"\r\n\r\n")
        await place.until(lambda: bool(place.tasks))
        await asyncio.sleep(0)  # the application looks for its body, and there is none yet
        writer.write(body)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
    assert [found for _, found, _ in app.heard] == [b"ab"]
