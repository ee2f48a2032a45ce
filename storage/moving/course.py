"""Moving house from the first look to the last mark. May be killed at any moment and run again: it goes on where it was.

The order in which the two databases learn of the end lets at most one of them be served at any moment: the new one opens when all
of it was compared and the old one has its mark.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from storage.errors import StorageError
from storage.moving import source as sources
from storage.moving import target as targets
from storage.moving.source import Source
from storage.moving.tables import Checksum, Table
from storage.moving.target import START, Ledger, Place, Target
from storage.records import light

Told = Callable[[str, int], None]  # what is done now, and how many rows more of it


@light(frozen=True, slots=True, kw_only=True)
class Moved:
    """`tables`: rows and digest of each, the same on both sides. `resumed`: rows that an earlier run had brought."""

    installation: str
    tables: Mapping[str, tuple[int, str]]
    resumed: int
    started_over: bool
    last_position: int


def rows_of(path: Path, now: int) -> int:
    """How many rows there are to move."""
    with sources.opened(path, now) as source:
        return sum(source.count(table) for table in source.tables)


async def move(path: Path, url: str, *, now: int, told: Told) -> Moved:
    """Copy, compare, mark. Raises StorageError with what to do; what was copied until then stays."""
    with sources.opened(path, now) as source:
        async with targets.opened(url) as target:
            await target.refuse_strange(source.tables)
            ledger = await target.ledger()
            if source.moved_at is not None:
                return await _finished(source, target, ledger)
            return await _moved(source, target, ledger, now, told)


async def undo(path: Path, url: str | None, *, now: int) -> None:
    """Serve the SQLite file again. `url`: None when the PostgreSQL database is gone for good; else it is given up first."""
    with sources.opened(path, now) as source:
        if source.moved_at is None:
            raise StorageError(f"{path} has not moved: it may be served as it is")
        if url is not None:
            async with targets.opened(url) as target:
                await target.refuse_company()
                if not await target.give_up(source.installation, now):
                    raise StorageError("that PostgreSQL database is not the one that this file has moved to")
        source.unmark()


async def _finished(source: Source, target: Target, ledger: Ledger | None) -> Moved:
    """The file has its mark: what may be lacking is the end of it."""
    house = await target.house()
    if house != (source.installation, None) or (ledger is not None and not ledger.verified):
        raise StorageError(
            f"{source.path} has moved already, and not to this PostgreSQL database."
            " Serve the one it moved to; if that is gone: taskrelay db copy --undo"
        )
    if ledger is not None:
        await target.finish()
    return Moved(
        installation=source.installation,
        tables={},
        resumed=0,
        started_over=False,
        last_position=source.last_position(),
    )


async def _moved(source: Source, target: Target, ledger: Ledger | None, now: int, told: Told) -> Moved:
    await target.refuse_company()
    source.refuse_zero_bytes()
    places, started_over = await _places(source, target, ledger, told)
    resumed = sum(place.rows for place in places.values())
    for table in source.tables:
        places[table.name] = await _copy(source, target, table, places[table.name], told)
    for table in source.tables:
        await _compare(source, target, table, places[table.name].checksum, told)
    await target.settle(source.last_position())
    told("marking", 0)
    source.mark(now)
    told("opening", 0)
    await target.finish()
    return Moved(
        installation=source.installation,
        tables={name: (place.rows, place.digest) for name, place in sorted(places.items())},
        resumed=resumed,
        started_over=started_over,
        last_position=source.last_position(),
    )


async def _places(source: Source, target: Target, ledger: Ledger | None, told: Told) -> tuple[dict[str, Place], bool]:
    """Where to go on in each table, and whether that is the beginning because the file has changed since."""
    fresh = {table.name: START for table in source.tables}
    if ledger is None:
        await _refuse_inhabited(source, target)
        await target.begin(source.installation, source.tables)
        await target.refuse_company()  # who had opened it before that does not see the ledger
        return fresh, False
    if ledger.source != source.installation:
        raise StorageError("another SQLite database is moving into this PostgreSQL database. Make a new one for this")
    if set(ledger.places) == set(fresh) and _unchanged(source, ledger, told):
        return dict(ledger.places), False
    await target.begin_anew(source.tables)
    return fresh, True


def _unchanged(source: Source, ledger: Ledger, told: Told) -> bool:
    """Whether what was copied is what the file still holds: it may have been served between two runs."""
    for table in source.tables:
        place = ledger.places[table.name]
        told(f"looking again at {table.name}", place.rows)
        if source.checksum(table, until=place.key) != place.checksum:
            return False
    return True


async def _refuse_inhabited(source: Source, target: Target) -> None:
    house = await target.house()
    if house is not None and house[0] == source.installation:
        raise StorageError(
            "this PostgreSQL database was given up for the file (--undo). Make a new one, and migrate it"
        )
    if taken := await target.taken(source.tables):
        raise StorageError(
            f"the PostgreSQL database is not empty: there are rows in {', '.join(taken)}."
            " Make a new one (createdb), then: TASKRELAY_DATABASE_URL=postgresql://… taskrelay db migrate"
        )


async def _copy(source: Source, target: Target, table: Table, place: Place, told: Told) -> Place:
    for batch in source.batches(table, after=place.key):
        seen = place.checksum
        for row in batch:
            seen.add(row)
        after = Place(key=table.key_of(batch[-1]), rows=seen.rows, digest=seen.digest)
        await target.append(table, batch, place, after)
        place = after
        told(f"copying {table.name}", len(batch))
    return place


async def _compare(source: Source, target: Target, table: Table, copied: Checksum, told: Told) -> None:
    there, before = Checksum(), 0
    async for there in target.checksum(table):
        told(f"comparing {table.name}", there.rows - before)
        before = there.rows
    if not (there == copied and there.rows == source.count(table)):
        raise StorageError(
            f"table {table.name} differs after it was copied: {source.count(table):,} rows in the file, {there.rows:,} in PostgreSQL,"
            f" checksums {copied.digest[:12]} and {there.digest[:12]}. Neither was marked; the file may be served."
            " Drop the PostgreSQL database, make it again, and copy again; please report it"
        )
