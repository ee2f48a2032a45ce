from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.core.observation import Claim, Reading
from service.pipeline.callback import CallbackDesk, secrets_of, take, take_unread
from service.pipeline.ledger import Desk, Recorded
from service.pipeline.recorder import Recorder
from service.providers.base import Push
from service.providers.registry import PROVIDERS
from storage import callbacks, submissions
from storage.database import Connection, Database, open_database
from storage.records import TaskStatus
from tests import engines
from tests.service.api.house import account
from tests.storage.builders import plant, submission, task
from tests.storage.conftest import Clock

CLOUDSWAY = PROVIDERS["cloudsway"]


@dataclass
class Station:
    """A recorder over a database that holds one bought task."""

    database: Database
    desk: CallbackDesk
    clock: Clock

    async def bells(self) -> list[tuple[str, str]]:
        found = await self.database.read(lambda tx: callbacks.unverified(tx, "cloudsway", batch=100))
        return [(bell.claim, bell.content) for bell in found]


@pytest.fixture
async def station(tmp_path: Path) -> AsyncIterator[Station]:
    clock = Clock()
    database = await open_database(await engines.address(tmp_path, clock), clock=clock)
    await plant(database, task(status=TaskStatus.PROCESSING, provider_task_id="job-1"))

    async def unit(tx: Connection) -> None:
        await submissions.insert(tx, [submission()])

    await database.write(unit)
    count = iter(range(1, 10_000))
    rules = Desk(
        accounts={"cloudsway": account("cloudsway", "cloudsway", "https://relay.example.org").rules()},
        public_url="",
        event_key=b"k",
        output_url=lambda task_id: task_id,
        clock=clock,
        entropy=lambda size: next(count).to_bytes(size, "big"),
        chance=lambda: 0.0,
    )
    recorder = Recorder(database, rules, arrived=lambda batch: None)
    desk = CallbackDesk(
        recorder=recorder, providers=PROVIDERS, read_token=lambda provider, token: None, secrets={}, clock=clock
    )
    yield Station(database=database, desk=desk, clock=clock)
    await recorder.drain()
    await database.close()


class Clumsy:
    """A contract whose adapter has a bug."""

    name = "cloudsway"

    def read(self, push: Push) -> Reading:
        raise KeyError("outputs")


async def test_an_adapters_bug_does_not_cost_the_bell(station: Station) -> None:
    recorded: Recorded = await take(Clumsy(), "sub_1", {}, b'{"id": 1}', station.desk)  # type: ignore[arg-type]
    assert recorded.task is not None
    [(claim, _)] = await station.bells()
    assert claim == Claim.UNKNOWN
    [row] = await station.database.read(lambda tx: callbacks.of_task(tx, "task_1"))
    assert row.raw == b'{"id": 1}'


async def test_a_refused_body_rings_once_a_second_at_most(station: Station) -> None:
    for seconds in (0, 0, 1):
        station.clock.advance(seconds)
        await take_unread(CLOUDSWAY, "sub_1", "a body of 300000 bytes was refused", station.desk)
    bells = await station.bells()
    assert [claim for claim, _ in bells] == [Claim.UNKNOWN] * 2
    assert "a body of 300000 bytes was refused at 2026-" in bells[0][1]


async def test_a_push_of_an_unknown_submission_belongs_to_no_task(station: Station) -> None:
    assert (await take(CLOUDSWAY, "sub_nobody", {}, b"{}", station.desk)).task is None


def test_secrets_are_gathered_by_provider() -> None:
    found = secrets_of(
        {
            "a": account("a", "cloudsway", None, webhook_secret="whsec_a"),
            "b": account("b", "cloudsway", None, webhook_secret="whsec_b"),
            "c": account("c", "ulazai", None),
        }
    )
    assert found == {"cloudsway": ("whsec_a", "whsec_b")}
