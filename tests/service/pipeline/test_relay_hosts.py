"""Endpoints that share a host share its places, and hold nothing while they wait for one."""

from __future__ import annotations

import asyncio
from collections import Counter

from service.net.hosts import Hosts
from tests.service.net.servers import Peer, serving
from tests.service.pipeline.rig import Rig
from tests.service.pipeline.steps import ended, sending, soon

OK = b"HTTP/1.1 204 No Content\r\n\r\n"


class Receiver:
    """Answers when it is let, and counts how many it owes an answer."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.owed = 0
        self.most = 0
        self.arrived = asyncio.Condition()
        self.paths: list[str] = []

    async def __call__(self, peer: Peer) -> None:
        while head := await peer.request():
            self.owed += 1
            self.most = max(self.most, self.owed)
            self.paths.append(head.split(b" ")[1].decode())
            async with self.arrived:
                self.arrived.notify_all()
            await self.open.wait()
            await asyncio.sleep(0)
            self.owed -= 1
            await peer.say(OK)

    async def until(self, count: int) -> None:
        async with self.arrived:
            await self.arrived.wait_for(lambda: len(self.paths) >= count)


async def test_after_an_outage_no_more_are_in_flight_to_one_host_than_its_places_and_all_arrive(rig: Rig) -> None:
    rig.hosts = Hosts(3)
    receiver = Receiver()
    async with serving(receiver) as host:
        project = await rig.project()
        made = [await rig.endpoint(project, url=f"http://127.0.0.1:{host.port}/{n}") for n in range(6)]
        for _ in range(4):
            await ended(rig, project)
        receiver.open.set()
        await rig.settle()
        assert receiver.most == 3
        for endpoint in made:
            assert Counter(await rig.deliveries(endpoint)) == {("delivered", 1): 4}
    assert rig.hosts._taken == {} and rig.hosts._lines == {}


async def test_lanes_that_wait_for_their_host_hold_up_nobody_else_and_do_not_spin(rig: Rig) -> None:
    rig.hosts = Hosts(2)
    stuck = Receiver()
    async with serving(stuck) as host:
        project = await rig.project()
        slow = [await rig.endpoint(project, url=f"http://127.0.0.1:{host.port}/{n}") for n in range(4)]
        well = await rig.endpoint(project)
        await ended(rig, project)
        workers = [await sending(rig, endpoint) for endpoint in slow]
        for worker in workers:
            while await worker.run_once():
                pass
        await soon(stuck.until(2))
        assert [len(worker._senders) for worker in workers] == [1, 1, 0, 0]
        assert [worker.next_at() for worker in workers] == [None] * 4
        assert not any(worker.idle for worker in workers)
        other = await sending(rig, well)
        async with asyncio.timeout(30):
            while await rig.deliveries(well) != [("delivered", 1)]:
                await other.run_once()
                await other.wait(0.05)
        stuck.open.set()
        await rig.settle()
        assert [await rig.deliveries(endpoint) for endpoint in slow] == [[("delivered", 1)]] * 4
        assert stuck.most == 2


async def test_a_busy_lane_takes_turns_with_one_that_has_little(rig: Rig) -> None:
    rig.hosts = Hosts(1)
    receiver = Receiver()
    async with serving(receiver) as host:
        project = await rig.project()
        busy = await rig.endpoint(project, url=f"http://127.0.0.1:{host.port}/busy")
        for _ in range(10):
            await ended(rig, project)
        quiet = await rig.endpoint(project, url=f"http://127.0.0.1:{host.port}/quiet")
        await ended(rig, project)
        for endpoint in (busy, quiet):  # both stand in line before anybody is answered
            worker = await sending(rig, endpoint)
            while await worker.run_once():
                pass
        receiver.open.set()
        await rig.settle()
        assert await rig.deliveries(quiet) == [("delivered", 1)]
    assert receiver.paths.index("/quiet") <= 3


async def test_a_lane_that_stops_while_it_waits_takes_no_place_with_it(rig: Rig) -> None:
    rig.hosts = Hosts(1)
    receiver = Receiver()
    async with serving(receiver) as host:
        project = await rig.project()
        made = [await rig.endpoint(project, url=f"http://127.0.0.1:{host.port}/{n}") for n in range(3)]
        await ended(rig, project)
        first, second, third = [await sending(rig, endpoint) for endpoint in made]
        for worker in (first, second, third):
            while await worker.run_once():
                pass
        await soon(receiver.until(1))
        await second.stop()
        receiver.open.set()
        await soon(receiver.until(2))
        assert receiver.paths == ["/0", "/2"]
        await first.stop()
        await third.stop()
    assert rig.hosts._taken == {} and rig.hosts._lines == {}


async def test_a_new_url_leaves_the_line_of_the_old_host(rig: Rig) -> None:
    rig.hosts = Hosts(1)
    old, new = Receiver(), Receiver()
    async with serving(old) as before, serving(new) as after:
        project = await rig.project()
        made = [await rig.endpoint(project, url=f"http://127.0.0.1:{before.port}/{n}") for n in range(2)]
        for _ in range(3):
            await ended(rig, project)
        holder, mover = [await sending(rig, endpoint) for endpoint in made]
        for worker in (holder, mover):
            while await worker.run_once():
                pass
        await soon(old.until(1))
        url = f"http://127.0.0.1:{after.port}/new"
        await rig.run("UPDATE endpoints SET url = :url WHERE id = :id", url=url, id=made[1])
        await ended(rig, project)
        mover._backlog.look_again()
        while await mover.run_once():
            pass
        await soon(new.until(1))
        old.open.set()
        await holder.stop()
        assert (old.paths, new.most, len(mover._senders)) == (["/0"], 1, 1), (
            "the old host's place is no place at the new one"
        )
        new.open.set()
        await mover.stop()
    assert rig.hosts._taken == {} and rig.hosts._lines == {}
