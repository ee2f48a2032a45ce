"""A supervisor's question is answered by an exit code, and by words for whoever reads its log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from typer.testing import CliRunner

from service.cli.app import app
from service.cli.client import HERE
from service.cli.health import PATIENCE_SECONDS
from service.cli.terminal import Stop
from tests.service.cli.conftest import Relay
from tests.service.cli.inside import said


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """Somebody who says this to everything."""

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *values: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Door) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def stopped(*arguments: str) -> Stop:
    ended = CliRunner().invoke(app, ["health", *arguments])
    assert isinstance(ended.exception, Stop), ended.output
    return ended.exception


@pytest.mark.slow
def test_a_serving_taskrelay_is_well_and_needs_no_key(relay: Relay) -> None:
    assert said(relay, "health", "--json").json == {"url": relay.url, "ok": True}
    assert said(relay, "health").out == f"{relay.url} takes work\n"
    assert said(relay, "health", "--live").out == f"{relay.url} answers\n"


def test_one_that_takes_nothing_is_told_with_its_reason() -> None:
    problem = {"code": "unavailable", "detail": "The disk that holds the database is full."}
    with answering(503, json.dumps(problem).encode()) as url:
        stop = stopped("--url", url)
        assert (stop.code, stop.text) == (1, f"health: {url}/readyz says 503: {problem['detail']}")
        assert "/livez says 503" in stopped("--url", url, "--live").text


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"\xff", b'{"detail": 7}', b"[" * 1000])
def test_whatever_a_stranger_says_has_a_line(body: bytes) -> None:
    with answering(502, body) as url:
        assert stopped("--url", url).code == 1


def test_nobody_there_is_another_code_than_a_refusal() -> None:
    with answering(200, b"") as url:
        pass
    stop = stopped("--url", url)
    assert (stop.code, "does not answer" in stop.text) == (3, True)


@pytest.mark.parametrize("url", ["", "relay.example.org", "ftp://relay.example.org"])
def test_what_is_no_address_is_refused(url: str) -> None:
    assert stopped("--url", url).code == 2


def test_it_asks_where_the_image_listens_and_for_less_than_a_supervisor_waits() -> None:
    assert HERE.endswith(":8080")
    assert PATIENCE_SECONDS < 10  # --timeout of deploy/Dockerfile
