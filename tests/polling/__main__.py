"""Prints the table of docs/polling.md: questions per job / seconds from its end to our knowing it, in the mean / for 95 of 100."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tests.polling.frontier import fewest
from tests.polling.lengths import CHANGE, CHANGING, MISSTATED, STEADY, WIDE, Lengths
from tests.polling.simulate import Figures, Followed, before_learning, every_ten, fixed, learning

HEAD = """| jobs | every 10 s | before | learned | of the questions | best possible |
|---|---:|---:|---:|---:|---:|"""
LEARNED = 100  # jobs after which an account counts as known


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.polling", description=__doc__)
    parser.add_argument("--days", type=int, default=5, help="how often each account is lived through")
    parser.add_argument("--jobs", type=int, default=500, help="jobs of such a day")
    wanted = parser.parse_args()
    tell(HEAD)
    for lengths in (*STEADY, *WIDE):
        show(lengths, lengths.name, wanted.days, wanted.jobs, LEARNED, wanted.jobs)
    for lengths in CHANGING:
        show(lengths, f"{lengths.name}: the first 50 after the change", wanted.days, CHANGE + 50, CHANGE, CHANGE + 50)
        show(lengths, f"{lengths.name}: later", wanted.days, CHANGE + wanted.jobs, CHANGE + 100, CHANGE + wanted.jobs)
    for lengths in (*MISSTATED, STEADY[1]):
        show(lengths, f"{lengths.name}: the first 20 of an account", 5 * wanted.days, 20, 0, 20)


def show(lengths: Lengths, name: str, days: int, jobs: int, first: int, last: int) -> None:
    ten = figures([fixed(lengths, every_ten, jobs=jobs, seed=day) for day in range(days)], first, last)
    before = figures([fixed(lengths, before_learning, jobs=jobs, seed=day) for day in range(days)], first, last)
    now = figures([learning(lengths, jobs=jobs, seed=day) for day in range(days)], first, last)
    best = f"{fewest(lengths.done, delay=5.0) / ten.questions:.2f}" if lengths.done is not None else ""
    cells = " | ".join(f"{one.questions:.1f} / {one.delay:.1f} / {one.late:.0f}" for one in (ten, before, now))
    tell(f"| {name} | {cells} | {now.questions / ten.questions:.2f} | {best} |")


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def figures(days: Sequence[list[Followed]], first: int, last: int) -> Figures:
    return Figures.of([job for day in days for job in day[first:last]])


main()
