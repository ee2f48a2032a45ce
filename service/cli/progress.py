"""Bars for commands that wait: on a terminal, on stderr, and gone when they are done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.cli.terminal import console


@contextmanager
def counting(what: str, total: int | None = None, *, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """Gives what to call with how many more are done. `total`: None while nobody knows. `quiet`: no bar at all."""
    screen = console(stderr=True)
    if quiet or not screen.is_terminal:
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    looks = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*looks, console=screen, transient=True) as progress:
        bar = progress.add_task(what, total=total)
        yield lambda more: progress.advance(bar, more)
