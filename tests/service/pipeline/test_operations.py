from __future__ import annotations

import orjson

from service.pipeline import operations
from service.pipeline.ledger import Ledger
from service.pipeline.sweep import Sweep
from storage import endpoints
from storage.database import Connection
from storage.records import EndpointStatus
from tests.service.core.schemas import faults
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig

SECRET_URL = "https://hooks.example/T0/very-secret"


async def disable(rig: Rig, endpoint: str, reason: str = "gone") -> bool:
    async def unit(tx: Connection, ledger: Ledger) -> bool:
        found = await endpoints.by_id(tx, endpoint)
        assert found is not None
        return await operations.disable(tx, ledger, found, reason)

    return await rig.recorder.write(unit)


async def bodies(rig: Rig) -> list[dict[str, object]]:
    return [orjson.loads(body) for (body,) in await rig.rows("SELECT body FROM events ORDER BY position")]  # type: ignore[arg-type]


async def test_the_other_endpoints_are_told_and_the_broken_one_is_not(still: Rig) -> None:
    project, stranger = await still.project(), await still.project()
    broken = await still.endpoint(project, url=SECRET_URL, events="*")
    told = await still.endpoint(project, events="endpoint.*", filter='{"model":["none"]}')
    ends = await still.endpoint(project)
    foreign = await still.endpoint(stranger, events="*")
    assert await disable(still, broken)
    assert [await still.deliveries(one) for one in (broken, told, ends, foreign)] == [[], [("pending", 0)], [], []]
    noted = "SELECT action, endpoint_id, key_id, detail FROM audit"
    assert await still.rows(noted) == [("endpoint.disable", broken, None, '{"reason":"gone"}')]
    [event] = await bodies(still)
    assert event["type"] == "endpoint.disabled"
    data = event["data"]
    assert isinstance(data, dict)
    assert (data["id"], data["status"], data["disabled_reason"]) == (broken, "disabled", "gone")
    assert data["origin"] == "https://hooks.example"
    assert "very-secret" not in str(event)
    assert still.batches[-1].told == {project} and still.batches[-1].fresh[0].endpoint_id == told


async def test_one_fact_is_told_once_and_never_to_the_one_it_is_about(still: Rig) -> None:
    endpoint = await still.endpoint(await still.project(), events="*")
    assert await disable(still, endpoint)
    assert not await disable(still, endpoint)

    async def warned(tx: Connection, ledger: Ledger) -> None:
        found = await endpoints.by_id(tx, endpoint)
        assert found is not None
        for _ in range(2):
            await operations.warn(tx, ledger, found, since=still.clock(), used=50, reason="HTTP 500")

    await still.run("UPDATE endpoints SET status = 'active'")
    await still.recorder.write(warned)
    assert await still.deliveries(endpoint) == []
    assert [event["type"] for event in await bodies(still)] == ["endpoint.disabled", "endpoint.failing"]
    assert [faults(orjson.dumps(event)) for event in await bodies(still)] == [[], []]


async def test_a_lease_that_ended_disables_the_endpoint_and_cancels_what_it_is_owed(still: Rig) -> None:
    project = await still.project()
    leased = await still.endpoint(project, events="task.*", expires_at=still.clock() + 60 * SECOND)
    lasting = await still.endpoint(project, events="*")
    sweep = Sweep(still.database, still.recorder, clock=still.clock)
    await still.bound(await still.task(project), "18")
    assert await sweep.run_once() == 0
    still.clock.advance(60)
    await still.bound(await still.task(project), "19")
    assert len(await still.deliveries(leased)) == 1, "it is owed nothing more from that instant"
    assert await sweep.run_once() == 1
    assert await sweep.run_once() == 0
    assert await still.deliveries(leased) == [("canceled", 0)]
    row = await still.rows("SELECT status, disabled_reason FROM endpoints WHERE id = :id", id=leased)
    assert row == [(EndpointStatus.DISABLED, "expired")]
    assert len(await still.deliveries(lasting)) == 3
