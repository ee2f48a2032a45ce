"""`demo --kill`: sets the stage for the kills, shows how far they are, and says at the end what it came to."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from service.cli.demo.kept import discard, keep
from service.cli.demo.killing import KILLS, TASKS, Killing, orders_of
from service.cli.demo.ledger import Ledger, opening, page, verdict
from service.cli.demo.scenes import SCENES, Scene
from service.cli.demo.stage import Stage, StageError
from service.cli.stopping import run
from service.cli.terminal import FAILED, INTERRUPTED, OK, Stop, console, say, show

SAY_EVERY = 5


def siege(scenes: Sequence[Scene], seed: int | None, within: float, *, stuck: bool, json: bool) -> int:
    """Play it and return the exit code: 0 only if nothing is missing and nothing was bought twice."""
    drawn = random.SystemRandom().randrange(1 << 20) if seed is None else seed
    ledger = Ledger(seed=drawn, orders=orders_of(scenes, stuck=stuck))
    folder = Path(tempfile.mkdtemp(prefix="taskrelay-demo-"))
    if not json:
        say("\n".join(opening(TASKS, KILLS, drawn)))
    try:
        run(_perform(ledger, folder, within, quiet=json))
    except (KeyboardInterrupt, asyncio.CancelledError):
        shutil.rmtree(folder, ignore_errors=True)
        raise Stop("demo: interrupted; everything it started has ended", INTERRUPTED) from None
    faults, kept = ledger.faults(), None
    if faults:
        kept = str(keep(folder, {"ledger": ledger.facts(), "orders": _known(ledger)}))
    else:
        shutil.rmtree(folder, ignore_errors=True)
        discard()
    if json:
        show({**ledger.facts(), "kept": kept})
    else:
        only = f" --only {scenes[0].name}" if len(scenes) < len(SCENES) else ""
        say("\n".join([*page(ledger), *verdict(ledger, kept, f"taskrelay demo --kill{only}")]))
    return FAILED if faults else OK


async def _perform(ledger: Ledger, folder: Path, within: float, *, quiet: bool) -> None:
    import httpx

    began, myself = time.monotonic(), asyncio.current_task()
    assert myself is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, myself.cancel)
    with _progress(ledger, quiet=quiet) as tell:
        async with Stage(folder) as stage, httpx.AsyncClient(trust_env=False, timeout=10) as client:
            try:
                await Killing(stage, client, ledger, tell).run(within)
            except (StageError, httpx.HTTPError) as error:
                ledger.broken = str(error) or type(error).__name__
    ledger.seconds = time.monotonic() - began


@contextmanager
def _progress(ledger: Ledger, *, quiet: bool) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, otherwise a line now and then; nothing when quiet."""
    screen = console()
    if quiet:
        yield lambda: None
    elif screen.is_terminal:
        from rich.progress import BarColumn, Progress, TextColumn

        looks = TextColumn("  kill -9"), BarColumn(40), TextColumn("{task.description}")
        with Progress(*looks, console=screen) as progress:
            bar = progress.add_task(_state(ledger), total=KILLS)
            yield lambda: progress.update(bar, completed=ledger.kills, description=_state(ledger))
    else:
        told: list[int] = []

        def tell() -> None:
            if ledger.kills % SAY_EVERY == 0 and ledger.kills not in told and ledger.kills:
                told.append(ledger.kills)
                say(f"  {_state(ledger)}")

        yield tell


def _state(ledger: Ledger) -> str:
    acknowledged = sum(order.id is not None for order in ledger.orders)
    told = sum(bool(order.ends_received) for order in ledger.orders)
    return f"killed {ledger.kills} of {KILLS}   {acknowledged} tasks acknowledged, {told} told"


def _known(ledger: Ledger) -> list[dict[str, object]]:
    return [
        {
            "order": order.name,
            "task": order.task,
            "timeline": order.timeline,
            "provider": order.jobs,
            "received": order.received,
        }
        for order in ledger.orders
    ]
