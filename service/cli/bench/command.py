"""`bench`: brings everything up on a database of its own, runs the course, says what was measured, and cleans up."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from service.cli.bench.report import Figures, document, lines, opening
from service.cli.demo.stage import StageError, need_verifier
from service.cli.opening import settings_of
from service.cli.progress import counting
from service.cli.stopping import run
from service.cli.terminal import FAILED, INTERRUPTED, USAGE, Json, Stop, console, note, say, show

LEAST, USUAL, MOST = 200, 1_000, 5_000  # tasks; the subscriber remembers 10,000 events


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """`folder`: of our own, on the disk that is measured. `url`: of the scratch database."""

    folder: Path
    url: str
    engine: str
    shown: str


def bench(
    tasks: Annotated[int, typer.Option(min=LEAST, max=MOST, help="How many are bought, ended and told.")] = USUAL,
    database_url: Annotated[
        str | None,
        typer.Option(
            help="A PostgreSQL server: a database of its own is made there, and dropped. By default a file "
            "beside the configured SQLite database.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Measure how fast it is here: commits, callbacks in, deliveries out, and from one to the other.

    On a scratch database, never yours, with a sandbox and a subscriber of its own. Takes about 20 seconds and both are gone after.
    """
    need_verifier("bench")
    folder = _beside(database_url)
    try:
        figures = run(_measure(folder, database_url, tasks, quiet=json))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise Stop("bench: interrupted; everything it made is gone", INTERRUPTED) from None
    except StageError as error:
        raise Stop(f"bench: {error}", FAILED) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if json:
        show(document(figures))
    else:
        say("\n".join(lines(figures)))


def _beside(database_url: str | None) -> Path:
    """A folder of our own: for SQLite on the disk of the configured database, which is what is to be measured."""
    if database_url is not None:
        if not database_url.startswith("postgresql://"):
            raise Stop(
                "--database-url: write postgresql://user:password@host:5432/name, or leave it out for SQLite", USAGE
            )
        return Path(tempfile.mkdtemp(prefix="taskrelay-bench-"))
    configured = settings_of("bench").database_url
    if not configured.startswith("sqlite:///"):
        raise Stop(
            "bench: the configured database is PostgreSQL. Say that its server may be measured: --database-url postgresql://…\n"
            "    A database of its own is made there, and dropped; yours is not touched. It is slower for others meanwhile.",
            USAGE,
        )
    parent = Path(configured.removeprefix("sqlite:///")).absolute().parent
    try:
        return Path(tempfile.mkdtemp(prefix=".taskrelay-bench-", dir=parent))
    except OSError as error:
        raise Stop(f"bench: {parent} cannot be written: {(error.strerror or '').lower()}") from None


async def _measure(folder: Path, database_url: str | None, tasks: int, *, quiet: bool) -> Figures:
    """Everything started or made here is gone when this returns, however it returns."""
    myself = asyncio.current_task()
    assert myself is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, myself.cancel)
    async with _scratch(folder, database_url) as where:
        if not quiet:
            say("\n".join(opening(where.engine, where.shown)))
        return await _run(where, tasks, quiet=quiet)


@asynccontextmanager
async def _scratch(folder: Path, database_url: str | None) -> AsyncIterator[Where]:
    if database_url is None:
        shown = f"in {folder.parent}"
        yield Where(folder=folder, url=f"sqlite:///{folder}/scratch.db", engine="sqlite", shown=shown)
        return
    from storage.errors import StorageError
    from storage.scratch import scratch_database

    try:
        async with scratch_database(database_url) as (url, shown):
            yield Where(folder=folder, url=url, engine="postgresql", shown=shown)
    except StorageError as error:
        raise Stop(f"bench: {error}") from None


async def _run(where: Where, tasks: int, *, quiet: bool) -> Figures:
    import aiohttp

    from service.cli.bench.commits import commits
    from service.cli.bench.course import SAMPLES, WARM_UP, Course
    from service.cli.bench.stage import bring_up, prepare
    from service.cli.demo.stage import Stage

    settings, made = await prepare(where.folder, where.url)
    with _part("durable commits", None, quiet):
        alone, together = await commits(where.url, made["project"])
    pool = aiohttp.TCPConnector(limit=0)
    async with Stage(where.folder) as stage, aiohttp.ClientSession(connector=pool) as http:
        course = Course(cast=await bring_up(stage, settings, made["key"]), stage=stage, http=http)
        await course.subscribe()
        with _part("tasks", tasks, quiet) as add:
            created = await course.tasks(tasks, add)
        first = WARM_UP + SAMPLES
        with _part("callback to subscriber", first, quiet) as add:
            took = await course.one_by_one(course.jobs[:first], add)
        rest = course.jobs[first:]
        with _part("callbacks", len(rest), quiet) as add:
            stored = await course.callbacks(rest, add)
        with _part("deliveries", len(rest), quiet) as add:
            delivered = await course.deliveries(rest, add)
    return Figures(
        engine=where.engine, shown=where.shown, cores=len(os.sched_getaffinity(0)), tasks=tasks, backlog=len(rest),
        commits_alone=alone, commits_together=together, created=created, callbacks=stored, deliveries=delivered,
        took_ms=sorted(took[WARM_UP:]),
    )  # fmt: skip


def _part(what: str, total: int | None, quiet: bool) -> AbstractContextManager[Callable[[int], None]]:
    """A bar on a terminal, else a line for what is measured now."""
    if not quiet and not console(stderr=True).is_terminal:
        note(f"measuring {what}")
    return counting(what, total, quiet=quiet)
