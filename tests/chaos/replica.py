"""One replica: a place (port, role, wire) in which one life after another serves."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.wire import Wire
from tests.kill.nursery import Life, Nursery

STOP_SECONDS = 35.0


@dataclass(slots=True, kw_only=True)
class Replica:
    """`port`: where it listens, whatever its roles: one that only works listens nowhere. `pids`: of all its lives so far."""

    number: int
    port: int
    wire: Wire
    folder: Path
    nursery: Nursery
    environment: Mapping[str, str]
    roles: str = "api,work"
    life: Life | None = None
    pids: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        return role_of(self.number)

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    async def start(self) -> None:
        assert self.life is None or self.life.over
        arguments = ("serve", "--host", "127.0.0.1", "--port", str(self.port), "--roles", self.roles)
        self.life = await self.nursery.run(
            *arguments, folder=self.folder, log=self.log, environment=dict(self.environment)
        )
        self.pids.append(self.life.pid)

    async def kill(self) -> None:
        assert self.life is not None
        self.life.signal(signal.SIGKILL)
        await self.life.ended

    def pause(self) -> None:
        assert self.life is not None
        self.life.signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.life is not None
        self.life.signal(signal.SIGCONT)

    async def stop(self) -> tuple[int | None, float]:
        """Tell it to end; its exit code, None if it had to be killed, and how long that took."""
        assert self.life is not None
        began = time.monotonic()
        self.life.signal(signal.SIGTERM)
        code = await self.life.wait(STOP_SECONDS)
        if code is None:
            await self.kill()
        return code, time.monotonic() - began


def role_of(number: int) -> str:
    """The name by which PostgreSQL knows a replica."""
    return f"replica_{number}"
