"""What the HTTP interface needs of the rest, as values: made by whoever wires the process, read by every route."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from service.api.rates import Rates
from service.api.wrong_keys import WrongKeys
from service.core.keys import Keyring
from service.core.schedule import Bucket
from service.core.times import SECOND
from service.core.tokens import Tokens
from service.net.client import ProviderClient
from service.net.dial import boottime
from service.net.guard import Policy
from service.pipeline.accounts import AccountDesk
from service.pipeline.create import CreateDesk
from service.pipeline.durations import Told
from service.pipeline.key_use import KeyUse
from service.pipeline.ledger import LaneKey
from service.pipeline.recorder import Recorder
from service.pipeline.skew import Skew
from service.pipeline.watch import Watch
from service.providers.base import Provider
from service.providers.registry import PROVIDERS
from storage.database import Database

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on what one request may bring, take or wait for."""

    body_bytes: int = MIB
    callback_bytes: int = 256 * 1024
    body_seconds: float = 20.0  # for a whole body to arrive
    upload_bytes: int = 10 * MIB
    upload_seconds: float = 60.0  # for a whole file to arrive, and again for the provider to take it
    uploads: int = 4  # at once, because each is held in memory
    wait_seconds: int = 60
    endpoints: int = 1000  # a project's
    streams: int = 200  # of the feed, open at once in this process
    project_streams: int = 20  # of them, a project's
    heartbeat_seconds: float = 15.0  # of a stream: a sign of life, and a look at its key


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """`accounts`: those that may be asked; `disabled`: those switched off, with their provider's name.

    `ring`: `Lanes.ring`. `public_url`: without a final slash; None makes every link relative. `mint`: a new id for a prefix.
    `entropy`: that many random bytes. `clock`: microseconds UTC. `ticks`: microseconds that nobody sets back.
    `bucket`: an account's rate in this process.
    """

    database: Database
    recorder: Recorder
    ring: Callable[[LaneKey, int], None]
    watch: Watch
    accounts: Mapping[str, AccountDesk]
    tokens: Tokens
    keyring: Keyring
    policy: Policy
    client: ProviderClient
    bucket: Callable[[str], Bucket]
    clock: Callable[[], int]
    skew: Skew
    mint: Callable[[str], str]
    entropy: Callable[[int], bytes]
    public_url: str | None
    disabled: Mapping[str, str] = field(default_factory=dict)
    ticks: Callable[[], int] = lambda: int(boottime() * SECOND)
    learned: Callable[[str], Sequence[Told]] = lambda account: ()  # how long an account's jobs take
    providers: Mapping[str, Provider] = field(default_factory=lambda: PROVIDERS)
    limits: Limits = Limits()
    docs: bool = True  # whether /openapi.json and /docs are served
    metrics_token: str | None = field(default=None, repr=False)  # opens /metrics, beside an admin's key
    access_log: bool = True
    uploading: set[object] = field(default_factory=set)  # those under way in this process
    streaming: Counter[str] = field(default_factory=Counter)  # streams open in this process, by project
    cors_origins: Sequence[str] = ()
    rates: Rates = field(default_factory=Rates)
    wrong_keys: WrongKeys = field(default_factory=WrongKeys)
    key_use: KeyUse = field(default_factory=KeyUse)

    @property
    def base(self) -> str:
        """What links begin with. Never the Host a request states: that is the sender's word."""
        return self.public_url or ""

    def output_url(self, task_id: str) -> str:
        """The link to a task's output that outlives the provider's own."""
        return f"{self.base}/o/{self.tokens.output(task_id)}"

    def creating(self) -> CreateDesk:
        return CreateDesk(
            database=self.database,
            providers=self.providers,
            accounts=self.accounts,
            disabled=self.disabled,
            policy=self.policy,
            clock=self.clock,
            mint=self.mint,
            ring=self.ring,
        )
