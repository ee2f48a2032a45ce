"""Resealing leaves nothing behind, changes no secret, and may be broken off or overtaken anywhere."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import orjson
import pytest

from service.core import signature
from service.core.keys import Keyring
from service.pipeline import reseal as resealing
from service.pipeline.orders import HEADERS, SECRET
from service.pipeline.reseal import Resealing, use_of
from service.pipeline.signing import fresh_key
from storage import endpoint_secrets, endpoints, projects, seals, signing_keys
from storage.database import Connection, Database
from storage.records import EndpointSecret, SigningKey
from tests import engines
from tests.storage.builders import NOW, endpoint, project
from tests.storage.conftest import Clock
from tests.storage.conftest import opened as opened_at

OLD, NEW = b"o" * 32, b"n" * 32
BEFORE, BOTH, AFTER = Keyring([OLD]), Keyring([NEW, OLD]), Keyring([NEW])
PURPOSES = {column.name: column.purpose for column in seals.COLUMNS}


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    clock = Clock()
    async with opened_at(await engines.address(tmp_path, clock), clock) as made:
        yield made


def seal(ring: Keyring, text: str, purpose: str) -> str:
    return ring.seal(text, purpose=purpose, nonce=secrets.token_bytes(12))


async def filled(database: Database, count: int = 3, ring: Keyring = BEFORE) -> None:
    """So many projects, each with an endpoint that has two secrets and headers, and with a signing key."""

    async def unit(tx: Connection) -> None:
        for n in range(count):
            prj, ep = f"prj_{n}", f"ep_{n}"
            await projects.insert(tx, project(prj, secret=seal(ring, f"project {n}", "project-secret")))
            headers = orjson.dumps({"authorization": f"Bearer {n}"}).decode()
            await endpoints.insert(tx, endpoint(ep, project_id=prj, headers=seal(ring, headers, HEADERS)))
            for number in (1, 2):
                text = seal(ring, signature.new_secret(bytes([n, number]) * 12), SECRET)
                await endpoint_secrets.insert(
                    tx, EndpointSecret(endpoint_id=ep, number=number, sealed=text, created_at=NOW)
                )
            await signing_keys.insert(tx, made(ring, prj))

    await database.write(unit)


def made(ring: Keyring, project_id: str) -> SigningKey:
    return fresh_key(
        ring, project_id, now=NOW, mint=lambda prefix: f"{prefix}_{project_id}", entropy=secrets.token_bytes
    )


async def opened(database: Database, ring: Keyring) -> dict[str, str]:
    """Every sealed text by its place, opened."""
    found: dict[str, str] = {}
    for column in seals.COLUMNS:
        rows = await database.read(partial(seals.stale, column=column, newest="", after=seals.START, batch=999))
        found |= {f"{column.name} {one.id} {one.number}": ring.open(one.text, PURPOSES[column.name]) for one in rows}
    return found


async def done(database: Database, ring: Keyring = BOTH, batch: int = 2) -> list[Resealing]:
    return [told async for told in resealing.reseal(database, ring, entropy=secrets.token_bytes, batch=batch)][-1:]


async def test_everything_opens_with_the_new_key_alone_and_says_what_it_said(database: Database) -> None:
    await filled(database)
    before = await opened(database, BEFORE)
    assert len(before) == 15
    [told] = await done(database)
    assert (told.done, told.passed_over, told.failed) == (15, 0, {})
    assert await opened(database, AFTER) == before
    assert dict(await use_of(database, BOTH)) == {AFTER.key_ids[0]: 15, BEFORE.key_ids[0]: 0}


async def test_doing_it_again_does_nothing(database: Database) -> None:
    await filled(database)
    await done(database)
    dump = await opened(database, AFTER)
    assert await done(database) == []
    assert await opened(database, AFTER) == dump


async def test_broken_off_after_any_batch_the_rest_is_done_by_the_next_run(database: Database) -> None:
    await filled(database)
    before = await opened(database, BEFORE)
    for batches in range(1, 9):
        going = resealing.reseal(database, BOTH, entropy=secrets.token_bytes, batch=1)
        async for _ in going:
            batches -= 1
            if not batches:
                break
        await going.aclose()  # type: ignore[attr-defined]
        assert await opened(database, BOTH) == before
    await done(database)
    assert await opened(database, AFTER) == before


async def test_a_secret_rotated_between_reading_and_writing_is_kept_and_done_by_the_next_pass(
    database: Database,
) -> None:
    """A serving process that has not heard of the new key yet rotates a secret in the middle."""
    await filled(database, 1)
    theirs = seal(BEFORE, "whsec_theirs", "project-secret")
    raced = 0

    def entropy(count: int) -> bytes:
        nonlocal raced
        raced += 1
        return secrets.token_bytes(count)

    class Racing:
        """The database, with somebody who is quicker than the first write."""

        read = staticmethod(database.read)

        async def write(self, unit: Callable[[Connection], object]) -> object:
            if raced == 1:
                text = "UPDATE projects SET secret = :theirs"
                await database.write(lambda tx: tx.fetch(text, {"theirs": theirs}))
            return await database.write(unit)  # type: ignore[arg-type]

    [*_, told] = [one async for one in resealing.reseal(Racing(), BOTH, entropy=entropy, batch=1)]  # type: ignore[arg-type]
    assert (told.done, told.passed_over) == (5, 0)
    assert (await opened(database, AFTER))["projects.secret prj_0 0"] == "whsec_theirs"


async def test_what_cannot_be_opened_is_named_and_holds_back_nothing(database: Database) -> None:
    await filled(database)
    stranger = seal(Keyring([b"s" * 32]), "lost", SECRET)
    await database.write(
        lambda tx: tx.fetch(
            "UPDATE endpoint_secrets SET sealed = :lost WHERE endpoint_id = 'ep_1' AND number = 1", {"lost": stranger}
        )
    )
    [told] = await done(database)
    assert told.done == 14
    [(place, why)] = told.failed.items()
    assert place == "endpoint_secrets.sealed of ep_1" and "Put that key back" in why
    assert (await use_of(database, BOTH))[stranger.split(".")[1]] == 1


@pytest.mark.parametrize("ring", [AFTER, Keyring([b"x" * 32])])
async def test_without_the_old_key_nothing_is_touched(database: Database, ring: Keyring) -> None:
    await filled(database, 1)
    before = await opened(database, BEFORE)
    [told] = await done(database, ring)
    assert (told.done, len(told.failed)) == (0, 4)  # both secrets of an endpoint are one place
    assert await opened(database, BEFORE) == before
