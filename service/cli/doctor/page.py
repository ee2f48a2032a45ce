"""The page that `doctor` prints: what is in force, what was tried, what to mend, what to know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from service.cli.doctor.finding import Finding, Grade


def page(shown: Mapping[str, Any], findings: Sequence[Finding], *, again: str = "taskrelay doctor") -> Iterator[str]:
    """`again`: the command to repeat once things are mended."""
    if shown:
        yield "In force"
        rows = list(flat(shown))
        width = max(len(name) for name, _ in rows)
        yield from (f"  {name.ljust(width)}  {value}" for name, value in rows)
        yield ""
    parts = ((Grade.FINE, "Tried", "✓"), (Grade.WRONG, "To mend", "✗"), (Grade.NOTE, "To know", "!"))
    for grade, title, mark in parts:
        told = [finding for finding in findings if finding.grade is grade]
        if told:
            yield title
            for finding in told:
                yield f"  {mark} {finding.about}: {finding.text}"
                if finding.fix is not None:
                    yield f"      {finding.fix}"
            yield ""
    if sound(findings):
        yield "All well: taskrelay serve"
    else:
        yield f"Not ready: mend what is marked ✗, then run {again} again"


def document(shown: Mapping[str, Any], findings: Sequence[Finding]) -> dict[str, Any]:
    """The same for a program."""
    told = [{"grade": str(one.grade), "about": one.about, "text": one.text, "fix": one.fix} for one in findings]
    return {"ok": sound(findings), "settings": shown, "findings": told}


def sound(findings: Sequence[Finding]) -> bool:
    return all(finding.grade is not Grade.WRONG for finding in findings)


def flat(shown: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Nested settings as their variables. What is not set is shown as `-`."""
    for name, value in shown.items():
        if isinstance(value, Mapping):
            yield from flat(value, (*path, str(name)))
        else:
            text = ",".join(map(str, value)) if isinstance(value, list) else value
            text = str(text).lower() if isinstance(text, bool) else text
            yield "TASKRELAY_" + "__".join((*path, str(name))).upper(), "-" if text in (None, "") else str(text)
