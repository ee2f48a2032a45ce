"""The world outside as a process meets it: clocks, chance, network; and what we call ourselves there."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from service import __version__
from service.core import ids
from service.net.client import ProviderClient
from service.net.dial import boottime
from service.net.sender import Sender

USER_AGENT = f"taskrelay/{__version__}"


def clock() -> int:
    """Microseconds UTC."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The world outside as the service meets it: clocks, chance, network. By default the real one; a simulation brings its own.

    `clock`: microseconds UTC. `boottime`: see `dial.boottime`. `entropy`: that many random bytes. `chance`: from 0 to 1.
    """

    clock: Callable[[], int] = clock
    boottime: Callable[[], float] = boottime
    entropy: Callable[[int], bytes] = secrets.token_bytes
    chance: Callable[[], float] = random.random
    client: ProviderClient | None = None
    sender: Sender | None = None

    def mint(self, prefix: str) -> str:
        return ids.mint(prefix, self.clock(), self.entropy(ids.ENTROPY_BYTES))


REAL = Ports()

mint = REAL.mint
