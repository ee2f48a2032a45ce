"""A configured account, with everything the flow needs to know of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from service.core import money
from service.net.client import Channel
from service.pipeline.ledger import AccountRules
from service.providers.base import Account, Estimate, Prepared, Provider


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
    units_per_second: Mapping[str, Decimal] = field(default_factory=dict)  # by quality level; "" for all
    unit_price: str | None = None
    webhook_secret: str | None = None
    public_url: str | None = None

    def estimate(self, prepared: Prepared) -> Estimate:
        """What a task is expected to cost here: by the configured rates, else by the contract's published list."""
        if not self.units_per_second:
            return prepared.estimate
        level = str(prepared.input.get("resolution") or prepared.input.get("mode") or "")
        rate = self.units_per_second.get(level, self.units_per_second.get(""))
        seconds = prepared.input.get("duration")
        known = rate is not None and isinstance(seconds, int)
        amount = money.times(rate, Decimal(seconds)) if known else None  # type: ignore[arg-type]
        return Estimate(unit=prepared.estimate.unit, amount=amount)

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
