"""One sandbox and one taskrelay for all tests of the clients: real processes on free ports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.cli.demo.play import settings_for
from service.cli.demo.stage import free_port
from tests import postgres
from tests.service.cli.processes import Running, run_json


@dataclass(frozen=True, kw_only=True)
class Relay:
    """A serving taskrelay. `client`: what a client's environment holds; `settings`: what the server's does."""

    url: str
    sandbox: str
    folder: Path
    settings: dict[str, str]
    client: dict[str, str]


@pytest.fixture(scope="session")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    folder = tmp_path_factory.mktemp("relay")
    port = free_port()
    with Running.start("sandbox", "--port", "0", "--job-seconds", "0.3", "--json", cwd=folder) as sandbox:
        played = sandbox.ready()["url"]
        settings = settings_for(played, f"http://127.0.0.1:{port}")
        with Running.start("serve", "--port", str(port), "--json", cwd=folder, settings=settings) as serving:
            url = serving.ready()["url"]
            made = run_json(
                "keys", "create", "--name", "tests", "--scope", "tasks,endpoints,read", cwd=folder, settings=settings
            )
            client = {"TASKRELAY_URL": url, "TASKRELAY_KEY": made["key"]}
            yield Relay(url=url, sandbox=played, folder=folder, settings=settings, client=client)
            assert serving.end() == 0
        assert sandbox.end() == 0


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    """A PostgreSQL without anything of ours."""
    with postgres.server(durable=False) as url:
        yield url
