"""What stands on a page as code, taken out of it to be run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> Iterator[str]:
    """The fenced blocks of one language, in order."""
    return (found[2] for found in FENCE.finditer(text(page)) if found[1] == language)


def program(page: str, name: str) -> str:
    """The block whose first line is a comment that names the file."""
    [found] = [
        found[2] for found in FENCE.finditer(text(page)) if re.match(rf"(#|//) {re.escape(name)}(:|$)", found[2], re.M)
    ]
    return found


def section(page: str, title: str) -> str:
    """What stands under a heading, of the second level, up to the next of these."""
    [found] = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text(page), re.MULTILINE | re.DOTALL)
    return str(found)


@dataclass(frozen=True)
class Written:
    """A request as a page writes it, with the tool's `{{…}}` replaced."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def requests(page: str, title: str, fields: Mapping[str, str]) -> Iterator[Written]:
    """The `http` blocks under a heading, in order. Every `{{name}}` in them must be a field."""
    for found in FENCE.finditer(section(page, title)):
        if found[1] == "http":
            filled = re.sub(r"\{\{(.*?)\}\}", lambda name: fields[name[1].strip()], found[2])
            head, _, body = filled.partition("\n\n")
            first, *headers = head.strip().splitlines()
            method, path = first.split()
            yield Written(method, path, dict(line.split(": ", 1) for line in headers), body.strip().encode())
