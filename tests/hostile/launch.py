"""Starts the service where names mean what an attacker wants: instead of the system's resolver stands a table."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE, METADATA = "127.0.0.1", "169.254.169.254"
HOLE_SECONDS = 30.0

# What a name's servers say, time after time; the last answer stays.
ANSWERS: Mapping[str, Sequence[Sequence[str]]] = {
    "one.hostile.test": [[HERE]],
    "provider.hostile.test": [[HERE]],
    "elsewhere.test": [[HERE]],
    "rebind.hostile.test": [[HERE], [METADATA]],
    "mixed.hostile.test": [[HERE, METADATA]],
    "metadata.hostile.test": [[METADATA]],
    "mapped.hostile.test": [[f"::ffff:{METADATA}"]],
    "nat64.hostile.test": [["64:ff9b::a9fe:a9fe"]],
    "private.hostile.test": [["10.0.0.1"]],
    "zone.hostile.test": [["fe80::1%lo"]],
}


class Names:
    """In the place of `socket.getaddrinfo`. `hole….test` is never answered, what it does not know does not exist."""

    def __init__(self) -> None:
        self._asked: dict[str, int] = {}
        self._lock = threading.Lock()
        self._system = socket.getaddrinfo

    def __call__(self, host: Any, port: Any, *more: Any, **options: Any) -> Any:
        if not isinstance(host, str) or not host.endswith(".test"):
            return self._system(host, port, *more, **options)
        if host.startswith("hole"):
            time.sleep(HOLE_SECONDS)
        with self._lock:
            turn = self._asked[host] = self._asked.get(host, 0) + 1
        answers = ANSWERS.get(host)
        if answers is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (one, 0))
            for one in answers[min(turn, len(answers)) - 1]
        ]


def command(python: str) -> tuple[str, ...]:
    """How to start it from any folder."""
    root = Path(__file__).parents[2]
    return (
        python,
        "-c",
        f"import sys; sys.path.insert(0, {str(root)!r}); from tests.hostile.launch import main; main()",
    )


def main() -> None:
    socket.getaddrinfo = Names()
    from service.cli import main as taskrelay

    taskrelay()
