"""Runs the command in this process, against a taskrelay that really serves: a tenth of what a process of its own takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from typer.testing import CliRunner

from service.cli.app import app
from service.cli.terminal import Stop
from tests.service.cli.conftest import Relay


@dataclass(frozen=True)
class Said:
    """How a command ended. `err` as a person sees it."""

    code: int
    out: str
    err: str
    facts: Any = None

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


def said(relay: Relay | None, *arguments: str) -> Said:
    """`relay`: None for a command that is to ask nobody."""
    ended = CliRunner().invoke(app, arguments, env=relay.client if relay is not None else {})
    if isinstance(ended.exception, Stop):
        return Said(ended.exception.code, ended.stdout, ended.exception.text, ended.exception.facts)
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return Said(ended.exit_code, ended.stdout, ended.stderr)


def said_json(relay: Relay, *arguments: str) -> Any:
    return said(relay, *arguments, "--json").json


@dataclass
class Receiver:
    """A subscriber on a port of its own. `answers`: what it says next, then 204 for ever."""

    url: str
    answers: list[int] = field(default_factory=list)
    got: list[tuple[str, bytes]] = field(default_factory=list)  # path and body


@contextmanager
def receiving() -> Iterator[Receiver]:
    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            here.got.append((self.path, body))
            self.send_response(here.answers.pop(0) if here.answers else 204)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *values: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        here = Receiver(url=f"http://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield here
        finally:
            server.shutdown()
            thread.join()
