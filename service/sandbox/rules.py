"""The switches: of the whole sandbox (knobs), and of one contract, one credential or both (rules), the narrower ones first."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from service.sandbox.directives import UnknownDirective, parse
from service.sandbox.jobs import REPLIES, Knobs

CONTRACT_NAMES = ("cloudsway", "ulazai", "ulazai-2.6", "acedata", "apiinone")
# What is said of a company's first contract holds for its others until something is said of those.
COVERED_BY = {"ulazai-2.6": "ulazai"}
RATE = re.compile(r"(\d{1,6})/([smhd])")
SPANS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
PREFIX = re.compile(r"(?:(?P<contract>[a-z][a-z0-9.-]*)?(?:@(?P<key>[^:]+))?:)(?P<value>.*)", re.DOTALL)
MOST_SCOPES = 1_000


class BadRule(ValueError):
    """A switch that does not exist, or a value it does not take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """At most `count` in any `seconds`."""

    count: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom a rule is for. None: all of them."""

    contract: str | None = None
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What holds for one credential at one contract, every scope taken together."""

    credits: int
    concurrency_limit: int | None
    rate: Rate | None
    query_rate: Rate | None
    faults: str
    query_faults: str
    webhook_secret: str | None = field(repr=False)


SCOPED = ("credits", "concurrency_limit", "rate", "query_rate", "faults", "query_faults", "webhook_secret")
ADDED = ("faults", "query_faults")  # those of every scope hold, a narrower one outranks by directive


class Book:
    """Rules narrower than the knobs."""

    def __init__(self, own: Mapping[Scope, Mapping[str, object]] | None = None) -> None:
        self.own: dict[Scope, dict[str, object]] = {}
        for scope, change in (own or {}).items():
            self.change(scope, change)

    def change(self, scope: Scope, change: Mapping[str, object]) -> None:
        """Set rules; a value of None gives a rule back to the wider scope. Raises `BadRule` and then changes nothing."""
        if scope.contract is not None and scope.contract not in CONTRACT_NAMES:
            raise BadRule(f"there is no contract {scope.contract!r}; there are {', '.join(CONTRACT_NAMES)}")
        if scope == Scope():
            raise BadRule("a rule names a contract, a key or both; what holds for all is a knob")
        for name, value in change.items():
            check(name, value, SCOPED)
        if scope not in self.own and len(self.own) >= MOST_SCOPES:
            raise BadRule(f"there are {MOST_SCOPES} rules already; POST /_sandbox/reset takes them back")
        left = {name: value for name, value in {**self.own.get(scope, {}), **change}.items() if value is not None}
        if left:
            self.own[scope] = left
        else:
            self.own.pop(scope, None)

    def resolve(self, knobs: Knobs, contract: str, key: str) -> Rules:
        """What holds for this credential at this contract: its own word, then its key's, the contract's, the knobs'."""
        found: dict[str, object] = {name: getattr(knobs, name) for name in SCOPED}
        wider = COVERED_BY.get(contract, contract)
        scopes = ((wider, None), (contract, None), (None, key), (wider, key), (contract, key))
        for named in dict.fromkeys(scopes):
            for name, value in self.own.get(Scope(*named), {}).items():
                found[name] = f"{found[name]},{value}" if name in ADDED else value
        found |= {name: rate(found[name]) for name in ("rate", "query_rate")}
        return Rules(**found)  # type: ignore[arg-type]  # `check` has seen every value


def rate(text: object) -> Rate | None:
    """Read `24/h`. Raises `BadRule`."""
    if text is None:
        return None
    match = RATE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise BadRule(f"a rate looks like 1/s, 30/m or 24/h, not {text!r}")
    return Rate(count=int(match[1]), seconds=SPANS[match[2]])


def scoped(text: str) -> tuple[Scope, str]:
    """Split `[contract][@key]:value`, as the command line takes it."""
    match = PREFIX.fullmatch(text)
    return (Scope(match["contract"], match["key"]), match["value"]) if match else (Scope(), text)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_span(value: object) -> bool:
    return type(value) in (int, float) and 0 <= float(str(value)) <= 86_400


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= 1_000_000_000


def _is_rate(value: object) -> bool:
    return rate(value) is not None


def _is_secret(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"(whsec_)?[A-Za-z0-9+/]+={0,2}", value) is not None


def _are_faults(value: object) -> bool:
    if not isinstance(value, str):
        return False
    parse(value)
    return True


def _are_names(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(map(_is_text, value))


TAKES: Mapping[str, Callable[[object], bool]] = {
    "api_key": lambda value: value is None or _is_text(value),
    "job_seconds": lambda value: value is None or _is_span(value),
    "unique_external_id": lambda value: isinstance(value, bool),
    "concurrency_limit": lambda value: value is None or _is_count(value),
    "rate": lambda value: value is None or _is_rate(value),
    "query_rate": lambda value: value is None or _is_rate(value),
    "faults": lambda value: _are_faults(value),
    "query_faults": lambda value: _are_faults(value),
    "webhook_secret": lambda value: value is None or _is_secret(value),
    "push_timeout_seconds": _is_span,
    "push_retries": _is_count,
    "push_retry_seconds": _is_span,
    "credits": _is_count,
    "output_base": _is_text,
    "retired_models": _are_names,
    "apiinone_replies": lambda value: value in REPLIES,
}


def turned(knobs: Knobs, change: Mapping[str, object]) -> Knobs:
    """The knobs after a change; every name and value is checked first."""
    for name, value in change.items():
        check(name, value, tuple(TAKES))
    return replace(knobs, **change)  # type: ignore[arg-type]  # TAKES has checked every value


def check(name: str, value: object, names: tuple[str, ...]) -> None:
    """Refuse a switch that is not among these, or a value it does not take. None gives a rule back, so it always passes there."""
    if name not in names:
        raise BadRule(f"there is no switch {name!r} here; there are {', '.join(names)}")
    if value is None and names is SCOPED:
        return
    try:
        taken = TAKES[name](value)
    except UnknownDirective as error:
        raise BadRule(f"{name}: {error}") from error
    if not taken:
        # A secret that is refused may still be one: only its name is repeated.
        told = "that value" if name in ("api_key", "webhook_secret") else repr(value)
        raise BadRule(f"{name} does not take {told}")
