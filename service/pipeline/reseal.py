"""Seals again, with the newest key, what older keys have sealed, so that those can be dropped.

Beside a serving process and on a stopped database alike: each text is replaced only where it still stands as it was
read. What somebody changed meanwhile is left to the next pass. A kill leaves some rows done and the rest as they were.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from service.core.keys import NONCE_BYTES, Keyring, Unsealable, beginning, key_id_of
from storage import seals
from storage.database import Database
from storage.seals import Column, Sealed

BATCH = 500
PASSES = 3  # a serving process seals with the newest key too, so whatever changed while we looked is done the next time


@dataclass(slots=True)
class Resealing:
    """How far it is. `failed`: what could not be opened, and why, by place."""

    done: int = 0
    passed_over: int = 0  # changed by somebody else in between
    failed: dict[str, str] = field(default_factory=dict)


async def use_of(database: Database, keyring: Keyring) -> Mapping[str, int]:
    """How many texts each key has sealed; also each key of the ring that sealed none."""
    found: dict[str, int] = dict.fromkeys(keyring.key_ids, 0)
    for text, count in (await database.read(seals.use)).items():
        key_id = key_id_of(text) or "unreadable"
        found[key_id] = found.get(key_id, 0) + count
    return found


async def reseal(
    database: Database, keyring: Keyring, *, entropy: Callable[[int], bytes], batch: int = BATCH
) -> AsyncIterator[Resealing]:
    """Go through all that is sealed; says after each batch how far it is."""
    told = Resealing()
    for _ in range(PASSES):
        told.passed_over = 0
        for column in seals.COLUMNS:
            async for _ in _column(database, keyring, column, told, entropy, batch):
                yield told
        if not told.passed_over:
            return


async def _column(
    database: Database,
    keyring: Keyring,
    column: Column,
    told: Resealing,
    entropy: Callable[[int], bytes],
    batch: int,
) -> AsyncIterator[None]:
    """One column, in the order of its rows."""
    newest, after = beginning(keyring.key_ids[0]), seals.START
    while True:
        found = await database.read(partial(seals.stale, column=column, newest=newest, after=after, batch=batch))
        if not found:
            return
        after = found[-1]
        pairs = _opened(keyring, column, found, told, entropy)
        done = await database.write(partial(seals.replace, column=column, pairs=pairs))
        told.done += done
        told.passed_over += len(pairs) - done
        yield


def _opened(
    keyring: Keyring, column: Column, found: list[Sealed], told: Resealing, entropy: Callable[[int], bytes]
) -> list[tuple[Sealed, str]]:
    """What was found with what is to stand there. One text that cannot be opened holds back no other."""
    pairs = []
    for one in found:
        try:
            text = keyring.open(one.text, column.purpose)
        except Unsealable as error:
            told.failed[f"{column.name} of {one.id}"] = str(error)
            continue
        pairs.append((one, keyring.seal(text, purpose=column.purpose, nonce=entropy(NONCE_BYTES))))
    return pairs
