"""`python -m tests.simulation`: many seeds, or one again. Exit 1 when an invariant broke, or a marker was never reached."""

from __future__ import annotations

import argparse
import sys

from tests.simulation.run import cores, run_all, run_seed, say, workplace

EVERYTHING = 1_000_000


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    asked.add_argument("--seeds", type=int, default=200, help="how many")
    asked.add_argument("--first", type=int, default=0, help="the first of them")
    asked.add_argument("--jobs", type=int, default=cores(), help="processes")
    asked.add_argument("--seed", type=int, help="only this one")
    asked.add_argument("--trace", action="store_true", help="with --seed: everything that happened")
    asked.add_argument("--all", action="store_true", help="show every failure, not only the first three")
    given = asked.parse_args()
    if given.seed is None:
        return 0 if run_all(given.first, given.seeds, given.jobs, every_failure=given.all) else 1
    with workplace() as folder:
        verdict = run_seed(given.seed, folder, keep_lines=EVERYTHING)
    if given.trace:
        say("\n".join(verdict.lines))
    for violation in verdict.violations:
        say(f"BROKEN {violation}")
    say(f"seed {given.seed}: {verdict.seconds:.0f} s of virtual time, trace {verdict.trace}, {dict(verdict.markers)}")
    return 1 if verdict.violations else 0


sys.exit(main())
