"""What a request may order the sandbox to do to it: `[sandbox: no-push, seconds=0.2]` in a prompt, a step of the script, or `faults`
of a contract, a credential or all.

| directive | effect | a job is made |
|---|---|---|
| status=N [code=C] [retry-after=N] | answers N at once, with the contract's own code C where it has codes | no |
| refuse | refused for its content, as the contract words it | no |
| hang, close | never answers / closes the connection | no |
| status-after=N, hang-after, lost-reply, garbage | answers N / never / closes / 200 with bytes that are not JSON | yes |
| seconds=N, stuck | the job takes N seconds / never ends by itself | yes |
| names-task | with status-after: the error names the job's id (AceData) | yes |
| fail [code=C], no-output, unknown-word | ends failed / succeeds without a URL / says a new word in place of `processing` | yes |
| no-push, late-push=N, push-twice, out-of-order | pushes none / N s late / each twice / the last first | yes |
| late-reply=N | answers after N seconds | yes |
| link-seconds=N | a link to its output is good for N seconds; a query after that gets another | yes |
| purge-after=N [keeps-record] | N seconds after its end the output is deleted, and the job with it unless its record is kept | yes |
| push-before-reply | answers only after the pushes so far were delivered (all of them with seconds=0) | yes |

For a query: status=N, code=C, retry-after=N, garbage, close, hang, and `empty`: a well-formed answer that knows no job.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields

IN_PROMPT = re.compile(r"\[sandbox:([^\]]*)\]")


class UnknownDirective(ValueError):
    """A directive is misspelt or has a value out of range; obeying the rest would test something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Directives:
    """Every order given for one request. The default is good behaviour."""

    status: float | None = None
    code: str | None = None
    retry_after: float | None = None
    refuse: bool = False
    hang: bool = False
    close: bool = False
    empty: bool = False
    status_after: float | None = None
    hang_after: bool = False
    lost_reply: bool = False
    names_task: bool = False
    garbage: bool = False
    seconds: float | None = None
    stuck: bool = False
    fail: bool = False
    no_output: bool = False
    unknown_word: bool = False
    no_push: bool = False
    late_push: float | None = None
    push_twice: bool = False
    out_of_order: bool = False
    push_before_reply: bool = False
    late_reply: float | None = None
    link_seconds: float | None = None
    purge_after: float | None = None
    keeps_record: bool = False


WORDS = {field.name.replace("_", "-"): field.default is None for field in fields(Directives)}
CODE = re.compile(r"[A-Za-z0-9_]{1,40}")
BOUNDS = {
    "status": (200, 599),
    "status-after": (200, 599),
    "seconds": (0, 86_400),
    "late-push": (0, 86_400),
    "late-reply": (0, 3_600),
    "link-seconds": (1, 10_000_000),
    "purge-after": (0, 10_000_000),
}


def parse(*orders: str) -> Directives:
    """Read comma-separated directives; a later one outranks an earlier one of the same name."""
    found: dict[str, bool | float | str] = {}
    for order in orders:
        found.update(_words(order))
    return Directives(**found)  # type: ignore[arg-type]  # _words gives each its kind


def in_prompt(prompt: str) -> str:
    """The directives a prompt carries, as one comma-separated order."""
    return ",".join(IN_PROMPT.findall(prompt))


def _words(order: str) -> Iterator[tuple[str, bool | float | str]]:
    for word in filter(None, map(str.strip, order.split(","))):
        name, separator, value = map(str.strip, word.partition("="))
        if name not in WORDS or WORDS[name] != bool(separator):
            raise UnknownDirective(f"sandbox: {word!r} is not a directive; there are {', '.join(_usage())}")
        yield name.replace("-", "_"), _value(name, value) if separator else True


def _value(name: str, text: str) -> float | str:
    if name != "code":
        return _number(name, text)
    if not CODE.fullmatch(text):
        raise UnknownDirective(f"sandbox: code takes letters, digits and _, not {text!r}")
    return text


def _number(name: str, text: str) -> float:
    low, high = BOUNDS.get(name, (0, 1_000_000))
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not low <= number <= high:
        raise UnknownDirective(f"sandbox: {name} takes a number from {low} to {high}, not {text!r}")
    return number


def _usage() -> list[str]:
    return [f"{name}=N" if valued else name for name, valued in WORDS.items()]
