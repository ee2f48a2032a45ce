"""`make siege`: each force alone, then all at once, against a service as delivered, with well-behaved clients beside them. Minutes."""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.e2e.stack import Stack, installation
from tests.siege.forces import FILES, Orders, command
from tests.siege.healthy import Seen, connections, memory, p99, watched

# Clients of each force where it is alone. The slow ones are a thousand; the loud ones are as many as one core of a besieger feeds.
ALONE: Mapping[str, int] = {
    "silent": 1000, "half_head": 1000, "half_body": 1000, "idle": 1000, "slow_reader": 1000,
    "pipeline": 20, "endless_chunks": 4, "endless_order": 4, "extensions": 4, "headers": 8, "query": 4,
    "json_bombs": 2, "push_bombs": 2, "packed": 4,
}  # fmt: skip
TOGETHER: Mapping[str, int] = {
    "silent": 200, "half_head": 200, "half_body": 200, "idle": 200, "slow_reader": 200,
    "pipeline": 2, "endless_chunks": 1, "endless_order": 1, "extensions": 1, "headers": 1, "query": 1,
    "json_bombs": 1, "push_bombs": 1, "packed": 1,
}  # fmt: skip
MANY = {"silent": 3000}  # of one address: past what one may hold
TRIES = 3
HELD = 60  # descriptors of a service at rest, and some more


async def besieged(stack: Stack, forces: Mapping[str, int], key: str, push: str, seconds: float) -> Seen:
    """One phase. The forces are processes of their own and are ended with it."""
    processes = []
    try:
        for number, (force, clients) in enumerate(forces.items()):
            local = f"127.0.1.{number + 1}"
            orders = Orders(force=force, clients=clients, local=local, port=stack.port, key=key, push=push)
            started = await asyncio.create_subprocess_exec(*command(orders), stderr=asyncio.subprocess.DEVNULL)
            processes.append(started)
        if forces:
            await asyncio.sleep(1.5)  # to come up
        return await watched(stack, push, seconds)
    finally:
        ended = [process.pid for process in processes if process.returncode is not None]
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()
        assert not ended, "a besieger fell by itself"


async def phases(chosen: Sequence[str], seconds: float, console: Console) -> int:
    """Every phase and its row. Returns how many failed."""
    plans: dict[str, Mapping[str, int]] = {"nobody": {}, **{force: {force: count} for force, count in ALONE.items()}}
    plans["3,000 of one address"] = MANY
    plans["all at once"] = TOGETHER
    failed = 0
    table = Table("force", "clients", "answers", "wrong", "p99 ms", "own p99", "own loop", "MB", "files", "verdict")
    with tempfile.TemporaryDirectory() as name:
        async with installation(Path(name)) as stack:
            attacker = (await stack.command("keys", "create", "--name", "besieger", "--scope", "tasks", "--json"))[
                "key"
            ]
            await stack.start()
            push = stack.push_path("sub_00000000000000000000000000")
            for plan, forces in plans.items():
                if chosen and plan.replace(" ", "_") not in chosen:
                    continue
                seen, faults = await judged(stack, forces, attacker, push, seconds)
                failed += bool(faults)
                clients = f"{sum(forces.values()):,}"
                figures = [f"{p99(one) * 1000:.0f}" for one in (seen.raw, seen.waits, seen.lags)]
                figures.append(f"{seen.megabytes:.0f}")
                verdict = "; ".join(faults) or "pass"
                row = [plan, clients, str(len(seen.waits)), str(seen.wrong), *figures, str(seen.connections), verdict]
                table.add_row(*row)
                console.print("  ".join(row), highlight=False)
            failed += await afterwards(stack, console)
    console.print(table)
    return failed


async def judged(
    stack: Stack, forces: Mapping[str, int], key: str, push: str, seconds: float
) -> tuple[Seen, list[str]]:
    """A phase and what is wrong with it. Only what was slow is looked at again: others may be at work on this machine."""
    for attempt in range(TRIES):
        seen = await besieged(stack, forces, key, push, seconds)
        faults = seen.faults()
        if faults or not seen.delays() or attempt == TRIES - 1:
            break
        await asyncio.sleep(5)
    return seen, faults + seen.delays()


async def afterwards(stack: Stack, console: Console) -> int:
    """Nothing is left of it: the service lives, holds no besieger's connection and ends in time."""
    assert stack.process is not None
    for _ in range(60):
        await asyncio.sleep(1)
        if connections(stack) <= HELD:
            break
    held, left = connections(stack), memory(stack)
    stack.process.terminate()
    code = await asyncio.wait_for(stack.process.wait(), 30)
    said = (stack.folder / "service.log").read_text(encoding="utf-8", errors="replace")
    broken = said.count("Traceback")
    console.print(f"afterwards: {held} files, {left:.0f} MB, ended with {code}, {broken} tracebacks in the log")
    return int(code != 0 or held > HELD or broken > 0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.siege", description=__doc__)
    parser.add_argument("--seconds", type=float, default=12.0, help="of each phase")
    parser.add_argument("--only", nargs="*", default=[], help="phases, as the first column names them, _ for blanks")
    wanted = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard), hard))
    console = Console(width=None if sys.stdout.isatty() else 160)
    failed = asyncio.run(phases(wanted.only, wanted.seconds, console))
    console.print("FAIL" if failed else "PASS: at most 300 MB, p99 500 ms, loop 200 ms late; no wrong answer")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
