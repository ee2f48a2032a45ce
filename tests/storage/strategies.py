"""Hypothesis strategies that follow the records: a field that is added is generated without anybody remembering it."""

from __future__ import annotations

from dataclasses import is_dataclass
from enum import Enum
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

R = TypeVar("R")

# Examples share the fixture's database, so each takes names of its own. Not shrunk: a record of forty fields takes minutes,
# and the difference that pytest shows names the field.
ON_ONE_DATABASE = settings(
    max_examples=30,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

# What one sanitiser lets through to both engines: no NUL, no lone surrogate, integers of 64 bits.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
INTEGER = st.integers(-(2**63), 2**63 - 1)
DECIMAL = st.decimals(allow_nan=False, allow_infinity=False).map(str)

PLAIN: dict[type, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: INTEGER,
    bool: st.booleans(),
    bytes: st.binary(max_size=40),
    type(None): st.none(),
}


def rows(record: type[R], **fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[R]:
    """Records with every field drawn from its type, save those that are given."""
    hints = get_type_hints(record)
    return st.builds(record, **{name: fixed.get(name, _of(hint)) for name, hint in hints.items()})


def _of(hint: Any) -> st.SearchStrategy[Any]:
    if isinstance(hint, UnionType):
        return st.one_of(*(_of(part) for part in get_args(hint)))
    if get_origin(hint) is tuple:
        return st.lists(_of(get_args(hint)[0]), max_size=3).map(tuple)
    if get_origin(hint) is frozenset:
        return st.frozensets(st.sampled_from(["tasks", "endpoints", "read", "admin"]))
    if issubclass(hint, Enum):
        return st.sampled_from(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        return rows(hint)
    return PLAIN[hint]


class Names:
    """Fresh names, so that examples on one database do not meet."""

    count = 0

    def __call__(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}_{self.count}"


fresh = Names()
