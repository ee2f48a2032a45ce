"""An installation to plant mistakes in, strangers that answer in our place, and `doctor` run in this process."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from service.cli import keys
from service.cli.doctor import command

KEY = "a-key-that-nobody-may-read-0123456789abcdef"
OURS = "9f8c1e5b7a3d2460" * 2

# The two commands alone: putting all of them together anew for each run takes longer than the run.
app = typer.Typer()
app.command("doctor")(command.doctor)
app.add_typer(keys.app, name="keys")


@dataclass(frozen=True)
class Told:
    """What `doctor` said: its exit code, its document, and everything it printed."""

    code: int
    document: Mapping[str, Any]
    text: str

    def of(self, grade: str) -> list[tuple[str, str, str]]:
        """(about, text, fix) of what has this grade."""
        found = self.document["findings"]
        return [(one["about"], one["text"], one["fix"]) for one in found if one["grade"] == grade]

    @property
    def wrong(self) -> list[tuple[str, str, str]]:
        return self.of("wrong")


@dataclass
class Place:
    """A folder with settings. `settings` may be changed before `doctor` looks."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    def doctor(self, *options: str) -> Told:
        ended = CliRunner().invoke(app, ["doctor", "--json", *options], env=self._environment())
        assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exception
        return Told(ended.exit_code, json.loads(ended.stdout), ended.stdout + ended.stderr)

    def page(self) -> tuple[int, str]:
        ended = CliRunner().invoke(app, ["doctor"], env=self._environment())
        return ended.exit_code, ended.stdout

    def _environment(self) -> dict[str, str | None]:
        return dict(self.settings.items())

    def start(self) -> None:
        """Make the database and a key, as a first start does."""
        made = CliRunner().invoke(
            app, ["keys", "create", "--name", "me", "--scope", "tasks", "--json"], env=self._environment()
        )
        assert made.exit_code == 0, made.output

    def plant(self, sql: str, *values: object) -> None:
        with closing(sqlite3.connect(self.folder / "taskrelay.db")) as raw:
            raw.execute(sql, values)
            raw.commit()

    def plant_endpoint(self, id: str, **columns: object) -> None:
        row = {
            "id": id, "url": f"https://{id}.example", "status": "active", "hidden": 0, "format": "standard", "signatures": "v1",
            "max_in_flight": 8, "created_at": 1, "updated_at": 1, **columns,
        }  # fmt: skip
        marks = ", ".join("?" * len(row))
        self.plant(
            f"INSERT INTO endpoints (project_id, {', '.join(row)}) VALUES ((SELECT min(id) FROM projects), {marks})",  # noqa: S608 (columns are written in this file)
            *row.values(),
        )


@dataclass
class Answers:
    """Somebody on a port of his own. `got`: method, path and body's length of every request."""

    url: str
    status: int = 404
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    got: list[tuple[str, str, int]] = field(default_factory=list)


@contextmanager
def somebody(status: int = 404, body: bytes = b"", **headers: str) -> Iterator[Answers]:
    """Answers every request alike."""

    class Stranger(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            self.rfile.read(length)
            here.got.append((self.command, self.path, length))
            self.send_response_only(here.status)
            for name, value in here.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(here.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(here.body)

        do_POST = do_GET = do_HEAD = answer

        def log_message(self, format: str, *values: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        here = Answers(f"http://127.0.0.1:{server.server_port}", status, told, body)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield here
        finally:
            server.shutdown()
            thread.join()


def sound_settings(provider: str, public: str | None) -> dict[str, str]:
    """One account at an address of this machine; nothing wrong with it."""
    settings = {
        "TASKRELAY_SECRET_KEYS": OURS,
        "TASKRELAY_EGRESS__ALLOW": "127.0.0.0/8",
        "TASKRELAY_EGRESS__PORTS": "*",
        "TASKRELAY_ACCOUNTS__CLOUDSWAY__API_KEY": KEY,
        "TASKRELAY_ACCOUNTS__CLOUDSWAY__ENDPOINT_PATH": "abc",
        "TASKRELAY_ACCOUNTS__CLOUDSWAY__BASE_URL": provider,
    }
    return settings | ({"TASKRELAY_PUBLIC_URL": public} if public else {})


def place_at(folder: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]) -> Place:
    """Where commands run in this process find their files. Settings of the machine that runs the tests are none of ours."""
    monkeypatch.chdir(folder)
    return Place(folder, settings)
