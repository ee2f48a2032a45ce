"""What `doctor` found about one thing: fine, to know, or to mend, and the line that does it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """How much it matters."""

    FINE = "fine"
    NOTE = "note"  # it runs, but the operator should know
    WRONG = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`about`: the part that was looked at. `fix`: what to type or set; everything but what is fine has one."""

    grade: Grade
    about: str
    text: str
    fix: str | None = None


def fine(about: str, text: str) -> Finding:
    return Finding(grade=Grade.FINE, about=about, text=text)


def note(about: str, text: str, fix: str) -> Finding:
    return Finding(grade=Grade.NOTE, about=about, text=text, fix=fix)


def wrong(about: str, text: str, fix: str) -> Finding:
    return Finding(grade=Grade.WRONG, about=about, text=text, fix=fix)
