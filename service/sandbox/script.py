"""Orders for requests still to come: the next N creates or queries, of one contract or of any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from service.sandbox.directives import parse

Kind = Literal["creates", "queries"]
KINDS: tuple[Kind, ...] = ("creates", "queries")


class BadScript(ValueError):
    """The script is not one; the message says where."""


@dataclass(slots=True, kw_only=True)
class Step:
    """One order for the next `times` requests."""

    directive: str
    times: int = 1
    contract: str | None = None  # None: whichever comes


@dataclass(slots=True)
class Script:
    """Steps in the order they are used up."""

    creates: list[Step] = field(default_factory=list)
    queries: list[Step] = field(default_factory=list)

    def take(self, kind: Kind, contract: str) -> str:
        """The order for this request, or an empty one; a step leaves when it has served its times."""
        steps: list[Step] = getattr(self, kind)
        for step in steps:
            if step.contract in (None, contract):
                step.times -= 1
                if step.times < 1:
                    steps.remove(step)
                return step.directive
        return ""


def read_script(text: object) -> Script:
    """Read `{"creates": [{"directive", "times"?, "contract"?}], "queries": […]}`; every fault is named."""
    if not isinstance(text, Mapping) or not set(text) <= set(KINDS):
        raise BadScript(f"a script is an object with any of {', '.join(KINDS)}")
    script = Script()
    for kind in KINDS:
        steps = text.get(kind, [])
        if not isinstance(steps, list) or len(steps) > 1_000:
            raise BadScript(f"/{kind}: a list of at most 1000 steps")
        getattr(script, kind).extend(_step(step, f"/{kind}/{index}") for index, step in enumerate(steps))
    return script


def _step(step: object, pointer: str) -> Step:
    if not isinstance(step, Mapping) or not set(step) <= {"directive", "times", "contract"}:
        raise BadScript(f"{pointer}: an object with directive, and times and contract if wanted")
    directive, times, contract = step.get("directive"), step.get("times", 1), step.get("contract")
    if not isinstance(directive, str):
        raise BadScript(f"{pointer}/directive: text such as 'status=500'")
    if type(times) is not int or not 1 <= times <= 1_000_000:
        raise BadScript(f"{pointer}/times: a whole number from 1 to 1000000")
    if contract is not None and not isinstance(contract, str):
        raise BadScript(f"{pointer}/contract: a contract's name, or null for any")
    parse(directive)
    return Step(directive=directive, times=times, contract=contract)
