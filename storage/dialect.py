"""One statement text for two engines.

SQLite runs the text as it stands, because what differs sits in comments:

    LIMIT :batch /*postgres: FOR UPDATE SKIP LOCKED */          PostgreSQL only
    /*sqlite:*/ json_each(:ids) /*postgres: unnest(:ids) */      one or the other

PostgreSQL takes what its comments hold, drops what stands between `/*sqlite:*/` and the next `/*postgres: … */`, and gets `:name`
as `$1`. Every other byte is common, so a statement can be pasted into either shell and explained there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import itemgetter
from typing import LiteralString

ALTERNATIVE = re.compile(r"/\*sqlite:\*/.*?/\*postgres:\s*(.*?)\s*\*/", re.DOTALL)
ONLY_POSTGRES = re.compile(r"/\*postgres:\s*(.*?)\s*\*/", re.DOTALL)
# A narrow table that is its own index: one tree less to write.
WITHOUT_ROWID = ") /*sqlite:*/ WITHOUT ROWID /*postgres: */;"
# Literals and remarks are matched first, so that nothing inside them counts as a name.
LITERAL_OR_NAME = re.compile(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/|(?<![:\w]):([a-z_][a-z0-9_]*)", re.DOTALL)


def select(columns: LiteralString, rest: LiteralString) -> LiteralString:
    """`SELECT` with a shared column list. Both parts are literals of ours, so no outside text can enter."""
    return "SELECT " + columns + " " + rest


@lru_cache(maxsize=2048)
def postgres(text: str, *, skip_locked: bool = True) -> tuple[str, tuple[str, ...]]:
    """The text as PostgreSQL runs it, and the parameter names in the order of `$1, $2, …`."""
    text = ONLY_POSTGRES.sub(r"\1", ALTERNATIVE.sub(r"\1", text))
    if not skip_locked:
        text = text.replace(" SKIP LOCKED", "")
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        name = match.group(1)
        if name is None:
            return match.group(0)
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return LITERAL_OR_NAME.sub(number, text), tuple(names)


@lru_cache(maxsize=1024)
def sqlite(text: str) -> tuple[str, Callable[[Mapping[str, object]], tuple[object, ...]]]:
    """The text with `?` for each `:name`, and what picks the values in that order.

    By position because SQLite's binding by name looks every name up in a list, one after another: 3 of 25 µs of an UPDATE with 27.
    """
    names: list[str] = []

    def take(match: re.Match[str]) -> str:
        if match.group(1) is None:
            return match.group(0)
        names.append(match.group(1))
        return "?"

    text = LITERAL_OR_NAME.sub(take, text)
    if len(names) > 1:
        return text, itemgetter(*names)
    return text, lambda params: tuple(params[name] for name in names)


def sqlite_schema(text: str) -> str:
    """DDL as SQLite takes it: STRICT tables know INTEGER, TEXT and BLOB only, and without STRICT 'zz' fits a BIGINT."""
    text = re.sub(r"\bBIGINT\b", "INTEGER", text)
    text = re.sub(r"\bBYTEA\b", "BLOB", text)
    text = text.replace(WITHOUT_ROWID, ") STRICT, WITHOUT ROWID;")
    return re.sub(r"^\);", ") STRICT;", text, flags=re.MULTILINE)
