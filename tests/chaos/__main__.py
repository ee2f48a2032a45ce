"""`make chaos`: three replicas on one PostgreSQL, everything that befalls them, and the ledger of what came of it.

SECONDS of storm · SEED draws it again · PER_SECOND orders · PHASES to choose some · ROLES of the replicas. Exit 1 if a promise was broken.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.ledger import page
from tests.chaos.play import played
from tests.chaos.result import Run

MIXED = "api,work/api,work/api,work"
PHASES = "storm,lapse,rolling,cut"
LONG_SECONDS = 300  # runs from there on take the time for a kill with the spans as delivered


def main() -> int:
    told = os.environ
    seconds = float(told.get("SECONDS") or 600)
    seed = int(told.get("SEED") or random.SystemRandom().randrange(1 << 31))
    phases = (told.get("PHASES") or PHASES + (",defaults" if seconds >= LONG_SECONDS else "")).split(",")
    roles = (told.get("ROLES") or MIXED).split("/")
    folder = Path(tempfile.mkdtemp(prefix="taskrelay-chaos-"))
    os.chmod(folder, 0o755)
    run = Run(seed=seed, seconds=seconds, per_second=float(told.get("PER_SECOND") or 15), phases=phases, roles=roles)
    say(f"SEED={seed}, {seconds:g} s, {len(roles)} replicas ({' · '.join(roles)}), {run.per_second:g} orders a second")
    began = time.monotonic()
    try:
        result = asyncio.run(played(run, folder, say))
    except BaseException:
        say(f"the harness failed or was interrupted; logs: {folder}")
        raise
    say(page(result))
    say(f"{time.monotonic() - began:.0f} s")
    if not result.violations:
        shutil.rmtree(folder)
        return 0
    for violation in result.shown:
        say(violation)
    say(
        f"{len(result.violations)} promises broken; logs: {folder}. "
        f"Again: make chaos SECONDS={seconds:g} SEED={seed} PHASES={','.join(phases)}"
    )
    return 1


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
