"""The cheapest job that a contract offers, by the price list that estimates every task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from service.core.request import Invalid, TaskRequest
from service.pipeline.accounts import AccountDesk
from service.providers.base import Model

PROMPT = "A red ball rolls slowly across a wooden table."
USUAL_SECONDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """What would be bought. `amount`: in the contract's own unit; None when no price is known."""

    model: str
    input: Mapping[str, object]
    unit: str
    amount: Decimal | None

    @property
    def seconds(self) -> object:
        return self.input.get("duration")


def cheapest(account: AccountDesk, model: str | None = None) -> Purchase | None:
    """The cheapest of all models, or of one; without any price the first that is possible. None when there is no such model."""
    models = [one for one in account.provider.models.values() if model in (None, one.name)]
    possible = [found for one in models for wanted in _smallest(one) if (found := _judged(account, one.name, wanted))]
    priced = [one for one in possible if one.amount is not None]
    return min(priced, key=lambda one: one.amount or Decimal(0)) if priced else next(iter(possible), None)


def _smallest(model: Model) -> Iterator[Mapping[str, object]]:
    """From a prompt alone: the shortest, plainest and silent."""
    limit = model.limits.get("duration")
    lengths = {USUAL_SECONDS, *((one for one in limit.allowed if isinstance(one, int)) if limit else ())}
    if limit is not None and isinstance(limit.low, int):
        lengths.add(limit.low)
    for seconds in sorted(lengths):
        for more in ({"quality": "standard", "sound": False}, {"quality": "standard"}, {}):
            yield {"prompt": PROMPT, "duration": seconds, **more}


def _judged(account: AccountDesk, model: str, wanted: Mapping[str, object]) -> Purchase | None:
    try:
        prepared = account.provider.prepare(TaskRequest(account=account.account.name, model=model, input=wanted))
    except Invalid:
        return None
    estimate = account.estimate(prepared)
    return Purchase(model=model, input=wanted, unit=estimate.unit, amount=estimate.amount)
