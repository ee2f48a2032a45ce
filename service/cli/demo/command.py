"""`demo`: the main work end to end with no account. Exit 0 only if every task was bought once and every end arrived."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from service.cli.demo import report
from service.cli.demo.kept import discard, keep
from service.cli.demo.play import Play, bring_up
from service.cli.demo.scenes import SCENES, Played, Scene
from service.cli.demo.siege import siege
from service.cli.demo.stage import Stage, StageError, need_verifier
from service.cli.stopping import run
from service.cli.terminal import FAILED, INTERRUPTED, OK, Json, Stop, console, say, show

GIVE_UP_SECONDS = 60.0


class Only(StrEnum):
    """The scenes by name."""

    PUSHED = "pushed"
    POLLED = "polled"
    PUSH_LOST = "push-lost"


@dataclass(slots=True, kw_only=True)
class Ending:
    """How it went. `faults`: of a task, or of the demo itself."""

    played: list[Played] = field(default_factory=list)
    pids: dict[str, tuple[int, str]] = field(default_factory=dict)
    faults: list[tuple[Played | None, str]] = field(default_factory=list)
    seconds: float = 0.0
    kept: str | None = None


def demo(
    only: Annotated[Only | None, typer.Option(help="Play one scene.", show_default=False)] = None,
    kill: Annotated[
        bool, typer.Option("--kill", help="Twenty tasks, while taskrelay is killed -9 twenty times at random moments.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(min=0, help="With --kill: draw the same moments again.", show_default=False)
    ] = None,
    within: Annotated[float, typer.Option(min=1, max=600, help="Give up after so many seconds.")] = GIVE_UP_SECONDS,
    stuck: Annotated[bool, typer.Option("--stuck", hidden=True, help="The sandbox never finishes a job.")] = False,
    json: Json = False,
) -> None:
    """Show the whole thing on this machine: no account, nothing is paid. Exit 0 only if every end arrived."""
    need_verifier("demo")
    scenes = [scene for scene in SCENES if only is None or scene.name == only]
    if kill:
        raise typer.Exit(siege(scenes, seed, within, stuck=stuck, json=json))
    if stuck:
        scenes = [replace(scene, orders=f"{scene.orders}, stuck") for scene in scenes]
    folder = Path(tempfile.mkdtemp(prefix="taskrelay-demo-"))
    try:
        ending = run(_perform(scenes, folder, within, quiet=json))
    except (KeyboardInterrupt, asyncio.CancelledError):
        shutil.rmtree(folder, ignore_errors=True)
        raise Stop("demo: interrupted; everything it started has ended", INTERRUPTED) from None
    if ending.faults:
        ending.kept = str(keep(folder, _known(ending)))
    else:
        shutil.rmtree(folder, ignore_errors=True)
        discard()
    if json:
        show(_document(ending))
    else:
        say("\n".join(_closing(ending)))
    raise typer.Exit(FAILED if ending.faults else OK)


async def _perform(scenes: Sequence[Scene], folder: Path, within: float, *, quiet: bool) -> Ending:
    """Play the scenes. Everything started here has ended when this returns, however it returns."""
    import httpx

    ending, began = Ending(), time.monotonic()
    myself = asyncio.current_task()
    assert myself is not None
    for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal must not leave them behind
        asyncio.get_running_loop().add_signal_handler(number, myself.cancel)
    if not quiet:
        say("\n".join(report.opening()))
    async with Stage(folder) as stage, httpx.AsyncClient(trust_env=False, timeout=10) as client:
        try:
            cast = await bring_up(stage)
            for child in (cast.sandbox, cast.taskrelay, cast.subscriber):
                ending.pids[child.name] = (child.running.pid, child.url)
            if not quiet:
                say("\n".join(report.cast_lines(ending.pids)))
            play = Play(cast, stage, client)
            await _watch(play, scenes, within, ending, quiet=quiet)
        except StageError as error:
            ending.faults.append((None, str(error)))
        except httpx.HTTPError as error:
            gone = stage.ended()
            who = (
                f"{gone.name} went away with code {gone.running.returncode}" if gone else "a process stopped answering"
            )
            ending.faults.append((None, f"{who}: {error or type(error).__name__}"))
    ending.seconds = time.monotonic() - began
    return ending


async def _watch(play: Play, scenes: Sequence[Scene], within: float, ending: Ending, *, quiet: bool) -> None:
    await play.submit(scenes)
    ending.played = play.played
    missed = "no event"
    with _bars(play.played, quiet=quiet) as tell:
        try:
            async with asyncio.timeout(within):
                await play.until_told(tell)
        except TimeoutError:
            missed = f"no event within {within:g} s"
    await play.gather()
    ending.faults += [(one, fault) for one in play.played for fault in one.faults(missed)]


@contextmanager
def _bars(played: Sequence[Played], *, quiet: bool) -> Iterator[Callable[[Played], None]]:
    """A bar for each task on a terminal, otherwise a line for every change; nothing when quiet."""
    screen = console()
    if quiet:
        yield lambda _: None
    elif screen.is_terminal:
        from rich.progress import BarColumn, Progress, TextColumn

        looks = TextColumn("  {task.description}"), BarColumn(16), TextColumn("{task.fields[state]}")
        with Progress(*looks, console=screen) as progress:
            bars = {one.scene.number: progress.add_task(report.label(one), total=None, state="") for one in played}

            def tell(one: Played) -> None:
                ended = {"total": 1, "completed": 1} if one.received else {}
                progress.update(bars[one.scene.number], state=_state(one), **ended)  # type: ignore[arg-type]

            yield tell
        say()
    else:
        told: dict[int, str] = {}

        def tell_line(one: Played) -> None:
            if told.get(one.scene.number) != (now := one.task["status"] + ("!" if one.received else "")):
                told[one.scene.number] = now
                say(f"  {report.label(one)}{_state(one)}")

        yield tell_line
        say()


def _state(one: Played) -> str:
    span = one.after(one.had_at)
    return f"{one.task['status']:11}" + (f"{span:5.1f} s" if span is not None else "")


def _known(ending: Ending) -> dict[str, object]:
    """Everything that was learned of each task, by the name of the file it goes to."""
    return {
        f"task{one.scene.number}": {
            "task": one.task, "timeline": one.timeline, "provider": one.jobs, "received": one.received,
        }
        for one in ending.played
    }  # fmt: skip


def _closing(ending: Ending) -> list[str]:
    lines: list[str] = []
    if ending.played:
        lines += [*report.story(report.most_telling(ending.played)), *report.table(ending.played)]
    if not ending.faults:
        return [*lines, *report.verdict(ending.played, ending.seconds)]
    for one, fault in ending.faults:
        kept = ending.kept or ""
        lines += report.failure(one, fault, kept) if one is not None else report.broken(fault, kept)
    return lines


def _document(ending: Ending) -> dict[str, object]:
    return {
        "ok": not ending.faults,
        "seconds": round(ending.seconds, 3),
        "tasks": [report.facts(one) for one in ending.played],
        "faults": [{"scene": one.scene.name if one else None, "detail": fault} for one, fault in ending.faults],
        "processes": {name: {"pid": pid, "url": url} for name, (pid, url) in ending.pids.items()},
        "kept": ending.kept,
    }
