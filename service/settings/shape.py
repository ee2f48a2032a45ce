"""Which settings exist, read off the model: their names, which hold several values, which are secret.

Everything that must know all settings (the source, `doctor`, the example file) asks here, so a new field is known
everywhere at once.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args, get_origin

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic.fields import FieldInfo

from service.settings.model import Settings

PREFIX = "TASKRELAY_"
DEEPER = "__"
FILE = "_FILE"
ANY = "*"  # stands for a name the operator chooses: an account's

Path = tuple[str, ...]

# A cluster sets these for every Service in the namespace; one called taskrelay is to be expected.
_CLUSTER = re.compile(r"SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?")


@dataclass(frozen=True, slots=True)
class Leaf:
    """One setting. `path` may hold `*` for an account's name."""

    path: Path
    field: FieldInfo
    several: bool
    secret: bool

    @property
    def variable(self) -> str:
        return variable(self.path).replace(ANY, "<NAME>")


def variable(path: Path) -> str:
    """The name of the environment variable that sets this path."""
    return PREFIX + DEEPER.join(path).upper()


@cache
def leaves() -> dict[Path, Leaf]:
    """Every setting by its path."""
    return {leaf.path: leaf for leaf in _walk(Settings, ())}


def find(path: Path) -> Leaf | None:
    """The setting that this path means, whatever the account is called."""
    known = leaves()
    if path in known:
        return known[path]
    return known.get((path[0], ANY, *path[2:])) if len(path) > 2 and path[1] != ANY else None


def path_of(name: str) -> tuple[Path, bool] | None:
    """Which setting a variable means and whether it names a file that holds the value; None when it means none."""
    if not name.startswith(PREFIX) or name != name.upper():
        return None
    path = tuple(name.removeprefix(PREFIX).lower().split(DEEPER))
    if find(path):
        return path, False
    shorter = (*path[:-1], path[-1].removesuffix(FILE.lower()))
    leaf = find(shorter)
    return (shorter, True) if leaf and leaf.secret and shorter != path else None


def unknown(names: list[str]) -> list[tuple[str, str | None]]:
    """Variables that look like ours and set nothing, each with what was probably meant."""
    strange = [n for n in names if n.upper().startswith(PREFIX) and path_of(n) is None]
    return [(n, nearest(n)) for n in sorted(strange) if not _CLUSTER.fullmatch(n[len(PREFIX) :])]


def nearest(name: str) -> str | None:
    """The variable that was probably meant."""
    parts = name.upper().split(DEEPER)
    chosen = parts[1] if len(parts) > 2 else "<NAME>"
    names = [leaf.variable.replace("<NAME>", chosen) for leaf in leaves().values()]
    names += [leaf.variable.replace("<NAME>", chosen) + FILE for leaf in leaves().values() if leaf.secret]
    return next(iter(difflib.get_close_matches(name.upper(), names, n=1, cutoff=0.75)), None)


def _walk(model: type[BaseModel], path: Path) -> Iterator[Leaf]:
    for name, field in model.model_fields.items():
        parts = list(_parts(field.annotation))
        inner = next((part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)), None)
        if inner is not None:
            yield from _walk(inner, (*path, name, ANY) if dict in parts else (*path, name))
        else:
            several = any(part in (tuple, frozenset) for part in parts)
            # A database URL may carry a password.
            secret = SecretStr in parts or SecretBytes in parts or name == "database_url"
            yield Leaf((*path, name), field, several, secret)


def _parts(annotation: Any) -> Iterator[Any]:
    """A type and everything it is made of."""
    yield get_origin(annotation) or annotation
    for argument in get_args(annotation):
        yield from _parts(argument)
