"""What each contract's documents say that no code relies on: a probe holds it against what the provider really does.

Where they say nothing there is nothing here, and a probe reports what it saw as new. The wire forms an adapter reads are its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Documented:
    """`id_at`, `push_id_at`: where a job's id stands. `echo`: whether our own id is told back. `pushes`: how many a job has at most
    and at least. `words`: all status words. `charge`: whether an end states its price. `link_days`: how long a result can be fetched."""

    statuses: frozenset[int] = frozenset()
    id_at: str | None = None
    push_id_at: str | None = None
    echo: bool | None = None
    pushes: tuple[int, int] | None = None
    words: frozenset[str] = frozenset()
    charge: bool | None = None
    link_days: int | None = None


NOTHING: Final = Documented()

# Keys: contract, then model where one contract has several wire forms.
DOCUMENTED: Final[Mapping[tuple[str, str | None], Documented]] = {
    # Its own page for the forms; Kling's pages for the echo of external_id, a push at every change, and 30 days.
    ("cloudsway", None): Documented(
        statuses=frozenset({200}),
        id_at="data.id",
        push_id_at="id",
        echo=True,
        pushes=(1, 3),
        words=frozenset({"submitted", "processing", "succeeded", "failed"}),
        charge=True,
        link_days=30,
    ),
    # "The result is posted to callback_url when the task is done."
    ("acedata", None): Documented(
        statuses=frozenset({200}),
        id_at="task_id",
        push_id_at="task_id",
        echo=False,
        pushes=(1, 1),
        words=frozenset({"succeed", "failed"}),
        link_days=30,
    ),
    ("ulazai", "kling-3.0"): Documented(
        id_at="task_id",
        echo=False,
        pushes=(0, 0),
        words=frozenset({"pending", "processing", "completed", "failed"}),
    ),
    ("ulazai", "kling-2.6"): Documented(
        statuses=frozenset({201}),
        id_at="data.task_id",
        echo=False,
        pushes=(0, 0),
        words=frozenset({"pending", "processing", "completed", "failed"}),
    ),
    # Its replies are documented nowhere: whatever is seen is new.
    ("apiinone", None): NOTHING,
}


def documented(provider: str, model: str) -> Documented:
    return DOCUMENTED.get((provider, model)) or DOCUMENTED.get((provider, None), NOTHING)
