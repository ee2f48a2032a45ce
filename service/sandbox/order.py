"""What every contract makes of a create's body: an order that is understood, or a refusal. The rules are each contract's own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

Check = Callable[[object], bool]
Fields = Mapping[str, tuple[Check, str]]


class Refused(ValueError):
    """A request that is turned down; nothing is made. `code` is the contract's own, where it has one."""

    def __init__(self, message: str, *, status: int = 400, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A create as understood. `effective`: with the contract's defaults. `ignored`: pointers to what has no effect."""

    prompt: str
    effective: Mapping[str, object]
    credits: Decimal
    ignored: tuple[str, ...]
    external_id: str | None = None
    callback_url: str | None = None
    sent: Mapping[str, object] = field(default_factory=dict)  # as it came, for contracts that echo it


def check_fields(body: Mapping[str, object], fields: Fields, required: Collection[str]) -> None:
    """Refuse the first field that is missing or wrong, by name."""
    for name in required:
        if name not in body:
            raise Refused(f"{name} is required")
    for name, (holds, wanted) in fields.items():
        if name in body and not holds(body[name]):
            raise Refused(f"{name} must be {wanted}")


def strangers(found: Mapping[str, object], known: Collection[str], parent: str = "") -> list[str]:
    """Pointers to the fields the contract does not have."""
    return [f"{parent}/{name}" for name in found if name not in known]


def is_link(value: object) -> bool:
    return isinstance(value, str) and value.startswith(("http://", "https://")) and len(value) > len("https://")


def is_flag(value: object) -> bool:
    return isinstance(value, bool)


def is_whole(low: int, high: int) -> Check:
    return lambda value: type(value) is int and low <= value <= high


def is_text(most: int) -> Check:
    """Characters are counted, not bytes."""
    return lambda value: isinstance(value, str) and bool(value.strip()) and len(value) <= most


def is_one_of(*allowed: str) -> Check:
    return lambda value: isinstance(value, str) and value in allowed
