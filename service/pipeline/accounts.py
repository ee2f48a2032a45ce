"""A configured account, with everything the flow needs to know of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from service.net.client import Channel
from service.pipeline.record import AccountRules
from service.providers.base import Account, Provider


class Callbacks(StrEnum):
    """What a push of this account's provider may do."""

    VERIFY = "verify"  # it rings; an authenticated query decides
    TRUST = "trust"  # it decides
    OFF = "off"  # none is asked for; a late one still rings


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountDesk:
    """One account: its contract, its channel, its limits. `rate`: requests a second."""

    account: Account
    provider: Provider
    channel: Channel
    callbacks: Callbacks
    rate: float
    max_open_tasks: int
    expected_seconds: float
    settle_seconds: float
    submit_deadline_seconds: float
    query_seconds: float
    unit_price: str | None = None
    webhook_secret: str | None = None
    public_url: str | None = None

    def __repr__(self) -> str:
        return f"AccountDesk({self.account.name})"

    @property
    def pushes(self) -> bool:
        """Whether the provider is given a callback URL."""
        return self.provider.traits.callbacks and self.callbacks is not Callbacks.OFF and self.public_url is not None

    @property
    def look_up(self) -> bool:
        """Whether a purchase of unknown fate can be looked for."""
        traits = self.provider.traits
        return traits.look_up and (self.pushes or not traits.look_up_needs_callback)

    def rules(self) -> AccountRules:
        return AccountRules(
            trust=self.callbacks is Callbacks.TRUST,
            pushes=self.pushes,
            look_up=self.look_up,
            resend=self.provider.traits.resend,
            expected_seconds=self.expected_seconds,
            settle_seconds=self.settle_seconds,
            signed=self.webhook_secret is not None,
        )
