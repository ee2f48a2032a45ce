"""One statement text for two engines.

SQLite runs the text as it stands, because what differs sits in comments:

    LIMIT :batch /*postgres: FOR UPDATE SKIP LOCKED */          PostgreSQL only
    /*sqlite:*/ json_each(:ids) /*postgres: unnest(:ids) */      one or the other

PostgreSQL takes what its comments hold, drops what stands between `/*sqlite:*/` and the next `/*postgres: … */`, and gets `:name`
as `$1`. Every other byte is common, so a statement can be pasted into either shell and explained there.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import LiteralString

ALTERNATIVE = re.compile(r"/\*sqlite:\*/.*?/\*postgres:\s*(.*?)\s*\*/", re.DOTALL)
ONLY_POSTGRES = re.compile(r"/\*postgres:\s*(.*?)\s*\*/", re.DOTALL)
# Literals and remarks are matched first, so that nothing inside them counts as a name.
LITERAL_OR_NAME = re.compile(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/|(?<![:\w]):([a-z_][a-z0-9_]*)", re.DOTALL)


def select(columns: LiteralString, rest: LiteralString) -> LiteralString:
    """`SELECT` with a shared column list. Both parts are literals of ours, so no outside text can enter."""
    return "SELECT " + columns + " " + rest


@lru_cache(maxsize=1024)
def postgres(text: str) -> tuple[str, tuple[str, ...]]:
    """The text as PostgreSQL runs it, and the parameter names in the order of `$1, $2, …`."""
    text = ONLY_POSTGRES.sub(r"\1", ALTERNATIVE.sub(r"\1", text))
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        name = match.group(1)
        if name is None:
            return match.group(0)
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return LITERAL_OR_NAME.sub(number, text), tuple(names)


def sqlite_schema(text: str) -> str:
    """DDL as SQLite takes it: STRICT tables know INTEGER, TEXT and BLOB only, and without STRICT 'zz' fits a BIGINT."""
    text = re.sub(r"\bBIGINT\b", "INTEGER", text)
    text = re.sub(r"\bBYTEA\b", "BLOB", text)
    return re.sub(r"^\);", ") STRICT;", text, flags=re.MULTILINE)
