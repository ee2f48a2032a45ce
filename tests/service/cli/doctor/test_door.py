"""Whoever answers in place of our door is told apart, each with what lets a push through."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx
import pytest

from tests.service.cli.conftest import Relay
from tests.service.cli.doctor.scene import Place, Told, place_at, somebody

PROBLEM = {"content_type": "application/problem+json"}


def asked(place: Place, public: str) -> Told:
    """What `doctor` says of this public address, of an installation with a database."""
    place.settings["TASKRELAY_PUBLIC_URL"] = public
    place.start()
    return place.doctor()


def refused(code: str) -> bytes:
    return json.dumps({"code": code, "detail": "…"}).encode()


STRANGERS = {
    "a redirect to https": (301, {"location": "https://relay.example.com/x"}, b"", "redirects to https://relay", "TASKRELAY_PUBLIC_URL=https://relay.example.com"),
    "a login": (401, {"server": "nginx"}, b"", "nginx wants a login (status 401)", "let POST /callbacks/ through"),
    "no such path": (404, {"server": "nginx"}, b"", "nginx answers 404: the path does not lead to us", "location /callbacks/"),
    "no length": (411, {}, b"", "refuses a body without a length", "let it pass chunked"),
    "too much": (413, {"server": "nginx"}, b"", "refuses 65,536 bytes", "client_max_body_size 1m;"),
    "another service": (200, {"server": "Apache"}, b"<h1>Welcome</h1>", "Apache answers with status 200, and", "TASKRELAY_PUBLIC_URL=<"),
    "another document": (200, {}, b'{"probe": "mine", "bytes": 12}', "of 65,536 bytes 12 arrived", "switch off whatever rewrites"),
    "a GET": (405, PROBLEM, refused("method_not_allowed"), "turned it into a GET", "proxy_pass"),
    "another path": (404, {**PROBLEM, "x_request_id": "req_1"}, refused("not_found"), "the path is changed on the way", "proxy_pass"),
    "compressed": (415, PROBLEM, refused("unsupported_media_type"), "compresses what providers send", "switch off compression"),
    "an odd document": (500, {}, b"[" * 100_000, "answers with status 500", "TASKRELAY_PUBLIC_URL=<"),
    "an escape": (500, {"server": "\x1b[2Jx"}, b"", "[2Jx answers with status 500", "TASKRELAY_PUBLIC_URL=<"),
}  # fmt: skip


@pytest.mark.parametrize("name", STRANGERS)
def test_who_answers_in_our_place_is_named(name: str, place: Place) -> None:
    status, headers, body, text, fix = STRANGERS[name]
    with somebody(status, body, **headers) as stranger:
        told = asked(place, stranger.url)
    assert told.code == 1 and len(told.wrong) == 1, told.wrong
    about, said, line = told.wrong[0]
    assert about == "callbacks" and text in said and line.startswith(fix)
    assert "\x1b" not in said


def test_another_installation_is_told_from_ours(place: Place, relay: Relay) -> None:
    told = asked(place, relay.url)
    assert [about for about, _, _ in told.wrong] == ["callbacks"]
    assert "another installation answers" in told.wrong[0][1]


class Between(BaseHTTPRequestHandler):
    """A proxy that says for whom it asks."""

    target: str
    says: Mapping[str, str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        got = httpx.post(f"{self.target}{self.path}", content=body, headers=dict(self.says), trust_env=False)
        self.send_response(got.status_code)
        self.send_header("content-type", got.headers["content-type"])
        self.send_header("content-length", str(len(got.content)))
        self.end_headers()
        self.wfile.write(got.content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def proxy(target: str, **says: str) -> Iterator[str]:
    kind = type(
        "Through", (Between,), {"target": target, "says": {name.replace("_", "-"): says[name] for name in says}}
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


SAYS = {
    "it says for whom": ({"x_forwarded_for": "203.0.113.9"}, True),
    "in the other header": ({"forwarded": "for=203.0.113.9"}, True),
    "it says nothing": ({}, False),
}


@pytest.mark.parametrize("name", SAYS)
def test_a_proxy_whose_word_does_not_count_is_told_by_that_word(
    name: str, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    says, seen = SAYS[name]
    here = place_at(relay.folder, monkeypatch, dict(relay.settings))
    with proxy(relay.url, **says) as public:
        here.settings["TASKRELAY_PUBLIC_URL"] = public
        told = here.doctor()
    assert (told.code, told.wrong) == (0, [])
    fixes = [fix for about, _, fix in told.of("note") if about == "callbacks"]
    assert [fix.startswith("TASKRELAY_TRUSTED_PROXIES=127.0.0.1 ") for fix in fixes] == ([True] if seen else [])


def test_a_changed_path_is_told_from_another_installation(place: Place, relay: Relay) -> None:
    lost = httpx.post(f"{relay.url}/elsewhere/callbacks/cloudsway/x", trust_env=False)
    with somebody(lost.status_code, lost.content, content_type=lost.headers["content-type"]) as there:
        told = asked(place, there.url)
    assert "but not under /callbacks/" in told.wrong[0][1]


@pytest.mark.parametrize(("public", "text"), [
    ("http://no-such-host.invalid", "its name has no address"),
    ("https://127.0.0.1:{port}", "its TLS certificate does not hold"),
])  # fmt: skip
def test_what_stands_before_any_answer_is_told(public: str, text: str, place: Place) -> None:
    with somebody() as stranger:
        told = asked(place, public.format(port=stranger.url.rpartition(":")[2]))
    assert len(told.wrong) == 1 and text in told.wrong[0][1]


@pytest.mark.parametrize("status", [None, 502])
def test_that_nobody_answers_is_no_mistake_before_the_first_start(status: int | None, place: Place) -> None:
    with somebody(status or 200) as stranger:
        told = asked(place, "http://127.0.0.1:1" if status is None else stranger.url)
    assert told.code == 0
    assert ("callbacks", "not tried: nobody serves this database now") in [one[:2] for one in told.of("note")]


def test_without_a_database_there_is_no_token_to_probe_with(place: Place) -> None:
    place.settings["TASKRELAY_PUBLIC_URL"] = "http://127.0.0.1:1"
    told = place.doctor()
    assert told.code == 0 and any(about == "callbacks" and "not tried" in text for about, text, _ in told.of("note"))
