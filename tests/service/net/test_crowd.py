from __future__ import annotations

import asyncio
from functools import partial
from ipaddress import ip_network

from service.net.crowd import BLAMED_MOST, BLAMED_SECONDS, REMEMBERED, SPARE, Crowd, Room

HERE, THERE = "192.0.2.1", "192.0.2.2"


def rooms(crowd: Crowd, peer: str | None, count: int) -> list[Room]:
    return [crowd.enter(peer, 0.0)[0] for _ in range(count)]


def test_an_address_that_holds_its_share_leaves_room_for_others() -> None:
    crowd = Crowd(most=100, each=3)
    assert rooms(crowd, HERE, 4) == [Room.ENOUGH] * 3 + [Room.NONE_FOR_IT]
    assert rooms(crowd, THERE, 3) == [Room.ENOUGH] * 3


def test_whoever_goes_makes_room() -> None:
    crowd = Crowd(most=100, each=1)
    _, owner = crowd.enter(HERE, 0.0)
    assert crowd.enter(HERE, 0.0)[0] is Room.NONE_FOR_IT
    crowd.leave(owner)
    crowd.leave(owner)
    assert crowd.enter(HERE, 0.0)[0] is Room.ENOUGH and crowd.total == 1
    crowd.leave(owner)
    assert not crowd.held and not crowd.total


def test_past_the_most_the_next_are_told_and_many_more_are_not() -> None:
    crowd = Crowd(most=1, each=1000)
    assert rooms(crowd, HERE, SPARE + 2) == [Room.ENOUGH] + [Room.NONE] * SPARE + [Room.NOT_A_WORD]
    crowd = Crowd(most=1000, each=1)
    assert rooms(crowd, HERE, SPARE + 2) == [Room.ENOUGH] + [Room.NONE_FOR_IT] * SPARE + [Room.NOT_A_WORD]


def test_a_network_of_one_owner_is_one_address() -> None:
    crowd = Crowd()
    assert crowd.owner("2001:db8::1") == crowd.owner("2001:db8::ffff:2") != crowd.owner("2001:db8:0:1::1")
    assert crowd.owner("::ffff:192.0.2.1") == crowd.owner(HERE)


def test_proxies_and_sockets_without_an_address_are_not_counted() -> None:
    crowd = Crowd(each=1, proxies=[ip_network("10.0.0.0/8")])
    assert rooms(crowd, "10.0.0.1", 3) + rooms(crowd, None, 3) == [Room.ENOUGH] * 6
    assert not crowd.held and crowd.total == 6


def test_whoever_does_not_read_answers_holds_fewer_for_a_while() -> None:
    crowd = Crowd(most=1000, each=500)
    crowd.blame(crowd.owner(HERE), 100.0)
    assert [crowd.enter(HERE, 101.0)[0] for _ in range(BLAMED_MOST + 1)][-2:] == [Room.ENOUGH, Room.NONE_FOR_IT]
    assert crowd.enter(THERE, 101.0)[0] is Room.ENOUGH
    assert crowd.enter(HERE, 100.0 + BLAMED_SECONDS)[0] is Room.ENOUGH


def test_the_blame_of_many_addresses_is_bounded_and_forgotten_in_time() -> None:
    crowd = Crowd()
    for number in range(REMEMBERED + 5):
        crowd.blame(f"192.0.2.{number}", 0.0)
    assert len(crowd.blamed) == REMEMBERED
    crowd.blame(HERE, BLAMED_SECONDS)
    assert crowd.blamed == {HERE: 2 * BLAMED_SECONDS}
    crowd.blame(None, 0.0)


async def test_what_is_queued_starts_in_turn_one_in_each_pass_of_the_loop() -> None:
    crowd, started, loop = Crowd(), list[str](), asyncio.get_running_loop()
    for name in "abc":
        crowd.queue(partial(started.append, name), loop)
    seen = []
    for _ in range(3):
        await asyncio.sleep(0)
        seen.append("".join(started))
    assert seen == ["a", "ab", "abc"] and not crowd.turns
    crowd.queue(lambda: started.append("d"), loop)
    await asyncio.sleep(0)
    assert started[-1] == "d"
