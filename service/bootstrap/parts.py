"""Everything a process needs, wired, and what it runs by its roles."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from service.bootstrap.world import Ports
from service.core.keys import Keyring
from service.core.schedule import Bucket
from service.core.tokens import Tokens
from service.net.client import ProviderClient
from service.net.guard import Policy
from service.pipeline.accounts import AccountDesk
from service.pipeline.durations import EVERY_SECONDS, Durations
from service.pipeline.duties import Duties
from service.pipeline.key_use import EVERY_SECONDS as KEY_USE_EVERY_SECONDS
from service.pipeline.key_use import KeyUse
from service.pipeline.lanes import Lanes
from service.pipeline.ledger import LaneKey
from service.pipeline.neighbours import Neighbours
from service.pipeline.recorder import Recorder
from service.pipeline.retention import EVERY_SECONDS as RETENTION_EVERY_SECONDS
from service.pipeline.retention import Retention
from service.pipeline.silence import EVERY_SECONDS as SILENCE_EVERY_SECONDS
from service.pipeline.silence import Silence
from service.pipeline.skew import EVERY_SECONDS as SKEW_EVERY_SECONDS
from service.pipeline.skew import Skew
from service.pipeline.sweep import Sweep
from service.pipeline.watch import Watch
from service.runtime import Loop
from service.settings import Settings
from storage.database import Database
from storage.wakeups import Wakeups

SWEEP_EVERY_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Everything a process needs, wired. Made by `open_service`."""

    ports: Ports
    settings: Settings
    database: Database
    keyring: Keyring
    tokens: Tokens
    policy: Policy
    accounts: Mapping[str, AccountDesk]
    recorder: Recorder
    lanes: Lanes
    durations: Durations
    silence: Silence
    bucket: Callable[[str], Bucket]
    sweep: Sweep
    retention: Retention
    watch: Watch
    wakeups: Wakeups
    neighbours: Neighbours
    skew: Skew
    duties: Duties
    key_use: KeyUse
    client: ProviderClient

    def ring(self, key: LaneKey, at: int) -> None:
        """Something is to be done for a lane, whoever owns it."""
        self.lanes.ring(key, at)
        self.neighbours.rung(key, at)

    @property
    def loops(self) -> list[Loop]:
        """What this replica runs, by its roles, beside `endless`."""
        durations = Loop(name="durations", run_once=self.durations.run_once, every_seconds=EVERY_SECONDS)
        skew = Loop(name="skew", run_once=self.skew.run_once, every_seconds=SKEW_EVERY_SECONDS)
        everywhere = [durations] if self.wakeups.alone else [durations, skew]
        if "api" in self.settings.roles:
            use = Loop(name="key use", run_once=self._store_key_use, every_seconds=KEY_USE_EVERY_SECONDS)
            everywhere.append(use)
        if "work" not in self.settings.roles:
            return everywhere
        return [
            Loop(name="heartbeat", run_once=self._heartbeat, every_seconds=self.settings.timing.heartbeat_seconds),
            *everywhere,
            *(
                Loop(name=name, run_once=self.duties.in_turn(name, run_once, seconds), every_seconds=seconds)
                for name, run_once, seconds in (
                    ("silence", self.silence.run_once, SILENCE_EVERY_SECONDS),
                    ("sweep", self.sweep.run_once, SWEEP_EVERY_SECONDS),
                    ("retention", self.retention.run_once, RETENTION_EVERY_SECONDS),
                )
            ),
        ]

    @property
    def endless(self) -> list[Callable[[], Awaitable[None]]]:
        """What this replica runs until it stops: its lanes, where it works; an ear for others, where there are any."""
        found: list[Callable[[], Awaitable[None]]] = [] if self.wakeups.alone else [self.neighbours.run]
        return [self.lanes.run, *found] if "work" in self.settings.roles else found

    async def _store_key_use(self) -> int:
        await self.key_use.store(self.database)
        return 0  # once a minute, however many were used

    async def _heartbeat(self) -> int:
        await self.lanes.heartbeat()
        return 0
