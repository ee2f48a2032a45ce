"""Every command in one table: its name, where it is defined, what it does in a few words.

`--help` is written from this table alone, so that it loads none of them; a test holds the words and the commands together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Row(NamedTuple):
    """`where`: a module of this package and what is called there, a function or a group."""

    where: str
    does: str  # short enough to stand beside the name on 80 columns
    hidden: bool = False


PARTS: Final[Mapping[str, Mapping[str, Row]]] = {
    "Try it, without an account": {
        "demo": Row("demo.command:demo", "show the whole thing on this machine; nothing is paid"),
        "dev": Row("dev.command:dev", "a sandbox and a taskrelay to develop against"),
        "sandbox": Row("sandbox:sandbox", "play the providers, with their faults"),
        "bench": Row("bench.command:bench", "measure how fast it is here, on a scratch database"),
        "subscriber": Row("sandbox:subscriber", "play a subscriber", hidden=True),
    },
    "Run it": {
        "init": Row("init:init", "write taskrelay.toml and taskrelay.secret here"),
        "serve": Row("serve:serve", "serve until SIGTERM or Ctrl-C"),
        "doctor": Row("doctor.command:doctor", "show what is in force and everything wrong with it"),
        "health": Row("health:health", "say whether it takes work; for supervisors"),
        "probe": Row("probe.command:probe", "buy the cheapest job and check the documented facts"),
        "keys": Row("keys:app", "make, list and revoke API keys"),
        "projects": Row("projects:app", "tenants: make, change, bound and delete them"),
        "whoami": Row("whoami:whoami", "say which key this is and what it may do"),
        "db": Row("db:app", "look after the database, stopped or serving"),
        "providers": Row("providers:app", "the contracts, what their models take and cost"),
        "accounts": Row("accounts:app", "how the accounts at providers do; pause, resume, check"),
        "audit": Row("audit:app", "is anything missing; who ordered what"),
    },
    "Buy": {
        "submit": Row("submit:submit", "submit a task; it is bought once"),
        "tasks": Row("tasks:app", "list, watch, explain, cancel and settle tasks"),
        "uploads": Row("uploads:app", "give an image of yours a URL to start from"),
        "usage": Row("usage:usage", "add up what tasks came to"),
    },
    "Be told": {
        "endpoints": Row("endpoints:app", "subscribe a URL, look after subscriptions"),
        "events": Row("events:app", "read the feed of what happened"),
        "deliveries": Row("deliveries:app", "what was sent to whom; send it again"),
        "listen": Row("listen:listen", "forward events to a receiver with no public address"),
        "verify": Row("verify:verify", "say why a signature does not verify"),
        "signing-keys": Row("signing_keys:app", "the public keys of v1a signatures; rotate them"),
        "openapi": Row("openapi:openapi", "print the HTTP API as OpenAPI 3.1"),
        "event-types": Row("event_types:event_types", "list the types of events, show what one holds"),
    },
}

COMMANDS: Final[Mapping[str, Row]] = {name: row for part in PARTS.values() for name, row in part.items()}
