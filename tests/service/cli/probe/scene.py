"""A probe run in this process against the sandbox that the clients' tests share, with a key of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import typer
from typer.testing import CliRunner

from service.cli.demo.stage import free_port
from service.cli.probe import command
from service.cli.terminal import Stop
from tests.service.cli.conftest import Relay
from tests.service.cli.processes import SECONDS

app = typer.Typer()
app.command("probe")(command.probe)


@app.callback()
def alone() -> None:
    """Keeps the command's name on its line."""


@dataclass
class Ended:
    """How a probe ended. `why`: what it refused with."""

    code: int
    out: str
    why: str = ""

    @property
    def found(self) -> Any:
        return json.loads(self.out)

    def verdicts(self) -> Mapping[str, str]:
        return {fact["name"]: fact["verdict"] for fact in self.found["facts"]}


@dataclass
class Prober:
    """`key`: of one test alone, so that what the sandbox counts by key is that test's."""

    relay: Relay
    folder: Path
    key: str
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        port = free_port()
        self.settings |= {
            "TASKRELAY_EGRESS__ALLOW": "127.0.0.0/8",
            "TASKRELAY_EGRESS__PORTS": "*",
            "TASKRELAY_PORT": str(port),
            "TASKRELAY_PUBLIC_URL": f"http://127.0.0.1:{port}",
        }
        for name in ("CLOUDSWAY", "ACEDATA", "ULAZAI", "APIINONE"):
            account = f"TASKRELAY_ACCOUNTS__{name}__"
            self.settings |= {
                account + "BASE_URL": self.relay.sandbox,
                account + "API_KEY": self.key,
                account + "EXPECTED_SECONDS": "1",
                account + "RATE": "50/s",
            }
        self.settings |= {
            "TASKRELAY_ACCOUNTS__CLOUDSWAY__ENDPOINT_PATH": "my-own-path",
            "TASKRELAY_ACCOUNTS__ACEDATA__UNITS_PER_SECOND": "0.1",
            "TASKRELAY_ACCOUNTS__APIINONE__ENABLED": "true",
        }

    def probe(self, *arguments: str, typed: str | None = None) -> Ended:
        ended = CliRunner().invoke(
            app, ["probe", *arguments, "--out", str(self.folder / "out")], env=dict(self.settings), input=typed
        )
        if isinstance(ended.exception, Stop):
            return Ended(ended.exception.code, ended.stdout, ended.exception.text)
        if ended.exception is not None and not isinstance(ended.exception, SystemExit):
            raise ended.exception
        return Ended(ended.exit_code, ended.stdout)

    def bought(self) -> int:
        """How many jobs the sandbox made for this key."""
        jobs = httpx.get(f"{self.relay.sandbox}/_sandbox/accounts", trust_env=False, timeout=SECONDS).json()
        return sum(float(one["spent"]) > 0 for one in jobs if one["key"] == self._label())

    def order(self, **rules: object) -> None:
        """Make the sandbox depart from the documents, for this key alone."""
        change = {"key": self.key, **rules}
        httpx.patch(
            f"{self.relay.sandbox}/_sandbox/rules", json=change, trust_env=False, timeout=SECONDS
        ).raise_for_status()

    def _label(self) -> str:
        from service.sandbox.accounts import label

        return label(self.key)
