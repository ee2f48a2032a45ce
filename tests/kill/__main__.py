"""`make kill-test N=1000`: that many kills, a quarter for each provider kind, several installations side by side.

N kills in all · SEED draws the plan again · JOBS installations at once · KINDS to choose some · DATABASE=postgres, and REPLICAS=2
for two processes on each database. Exit 1 if a promise was broken.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import postgres
from tests.kill.installation import SERVER
from tests.kill.oracle import COUNTS
from tests.kill.plan import KINDS, Plan, plans

ROOT = Path(__file__).parent.parent.parent
LIMIT_SECONDS = 1200
TOLD = (
    "tasks",
    "jobs",
    "creates",
    "resends",
    "pushes",
    "events",
    "receipts",
    "audited",
    "duplicates",
    "conflicts",
    "held",
    "abandoned",
    "take-overs",
)


async def run(seed: int, kills: int, kinds: Sequence[str], side_by_side: int, folder: Path) -> list[dict[str, Any]]:
    """Play every plan, each in a process of its own."""
    turn = asyncio.Semaphore(side_by_side)

    async def one(plan: Plan) -> dict[str, Any]:
        async with turn:
            return await _play(plan, seed, kills, folder / plan.name)

    return list(await asyncio.gather(*map(one, plans(seed, kills, kinds))))


async def _play(plan: Plan, seed: int, kills: int, folder: Path) -> dict[str, Any]:
    folder.mkdir()  # noqa: ASYNC240 (the run waits for nothing meanwhile)
    arguments = (str(seed), str(kills), plan.kind.name, str(plan.number), str(folder))
    player = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.kill.installation", *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            out, err = await player.communicate()
    except TimeoutError:
        player.kill()
        out, err = b"", f"it did not end within {LIMIT_SECONDS} s".encode()
    try:
        result: dict[str, Any] = json.loads(out.splitlines()[-1])
    except (IndexError, ValueError):
        broken = {
            "rule": "service errors",
            "what": f"the harness failed: {err.decode()[-3000:]}",
            "point": "?",
            "kill": None,
        }
        result = {"name": plan.name, "kind": plan.kind.name, "kills": 0, "reached": {}, "missed": {}, "counts": {}}
        result |= {"violations": [broken | {"installation": plan.name, "seed": plan.seed, "timeline": []}]}
        result |= {"converged_seconds": None, "seconds": 0}
    if not result["violations"]:
        shutil.rmtree(folder)
    return result


def report(results: Sequence[Mapping[str, Any]], seconds: float) -> str:
    """A column for each kind, then the fail-points and how often a life ended there."""
    kinds = list(dict.fromkeys(str(result["kind"]) for result in results))
    of = {kind: [result for result in results if result["kind"] == kind] for kind in kinds}
    lines = [f"{'':24}" + "".join(f"{kind:>12}" for kind in kinds)]

    def row(name: str, values: Sequence[object]) -> None:
        lines.append(f"{name:24}" + "".join(f"{value!s:>12}" for value in values))

    row("kills", [sum(one["kills"] for one in of[kind]) for kind in kinds])
    row("  at a fail-point", [sum(sum(one["reached"].values()) for one in of[kind]) for kind in kinds])
    row("  point not passed", [sum(sum(one["missed"].values()) for one in of[kind]) for kind in kinds])
    totals = {kind: sum((Counter(one["counts"]) for one in of[kind]), Counter()) for kind in kinds}
    ended = sorted({name for counts in totals.values() for name in counts if name.startswith("ended ")})
    for name in (*COUNTS, *TOLD, *ended):
        row(name, [totals[kind][name] for kind in kinds])
    row(
        "longest to converge, s",
        [max((one["converged_seconds"] or 0 for one in of[kind]), default=0) for kind in kinds],
    )
    reached = sum((Counter(one["reached"]) for one in results), Counter[str]())
    missed = sum((Counter(one["missed"]) for one in results), Counter[str]())
    points = [
        f"{point} {reached[point]}" + (f" (not passed {missed[point]})" if missed[point] else "")
        for point in reached | missed
    ]
    return "\n".join([*lines, f"ended at: {', '.join(points)}", f"{seconds:.0f} s"])


def complain(violation: Mapping[str, Any], folder: Path) -> str:
    where = f"{violation['installation']} (seed {violation['seed']}), kill {violation['kill']} at {violation['point']}"
    return "\n".join(
        [
            f"VIOLATION {violation['rule']}: {violation['what']}",
            f"  {where}; kept: {folder / violation['installation']}",
            *(f"    {line}" for line in violation["timeline"]),
        ]
    )


def main() -> int:
    said = os.environ
    seed = int(said.get("SEED") or random.SystemRandom().randrange(1 << 31))
    kinds = [name for name in (said.get("KINDS") or ",".join(KINDS)).split(",") if name]
    kills = max(1, int(said.get("N") or 1000) // len(kinds))
    side_by_side = int(said.get("JOBS") or (os.cpu_count() or 1) + 1)
    folder = Path(tempfile.mkdtemp(prefix="taskrelay-kill-"))
    say(f"SEED={seed}, {kills} kills for each of {', '.join(kinds)}, {side_by_side} installations side by side")
    began = time.monotonic()
    with _engine(said.get("DATABASE") or "sqlite", said.get("REPLICAS") or "1"):
        results = asyncio.run(run(seed, kills, kinds, side_by_side, folder))
    say(report(results, time.monotonic() - began))
    violations = [one for result in results for one in result["violations"]]
    for violation in violations:
        say(complain(violation, folder))
    if violations:
        say(
            f"{len(violations)} promises broken. Again: make kill-test N={kills * len(kinds)} SEED={seed} KINDS={','.join(kinds)}"
        )
        return 1
    shutil.rmtree(folder)
    total = sum(result["kills"] for result in results)
    say(f"{total} kills, nothing lost, nothing bought twice")
    return 0


@contextmanager
def _engine(database: str, replicas: str) -> Iterator[None]:
    """What each installation finds in its environment; a server for as long as they run."""
    if (database, replicas) == ("sqlite", "1"):
        yield
    elif database == "postgres" and replicas in ("1", "2"):
        with postgres.server(durable=False, settings="max_connections = 400") as url:
            os.environ[SERVER] = url
            yield
    else:
        sys.exit(f"DATABASE={database} REPLICAS={replicas}: sqlite with 1, or postgres with 1 or 2")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
