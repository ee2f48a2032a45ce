from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.net.hosts import Hosts, party_of


class Lane:
    """Takes what it is given, as long as it has a use for it."""

    def __init__(self, hosts: Hosts, wants: int = 1_000_000) -> None:
        self.hosts = hosts
        self.wants = wants
        self.holds = 0

    def ask(self) -> bool:
        if self.wants > 0 and self.hosts.enter("a:443", self.admit):
            self.wants -= 1
            self.holds += 1
            return True
        return False

    def admit(self, party: str) -> bool:
        if self.wants < 1:
            return False
        self.wants -= 1
        self.holds += 1
        return True

    def end(self) -> None:
        self.holds -= 1
        self.hosts.leave("a:443")


def test_a_full_host_takes_nobody_and_another_is_not_full() -> None:
    hosts = Hosts(2)
    lane = Lane(hosts)
    assert [lane.ask() for _ in range(3)] == [True, True, False]
    assert hosts.enter("b:443", lane.admit)


def test_a_place_goes_to_whoever_has_waited_longest() -> None:
    hosts = Hosts(1)
    holder, first, second = Lane(hosts), Lane(hosts, 1), Lane(hosts, 1)
    assert holder.ask() and not first.ask() and not second.ask() and not first.ask()
    assert hosts.crowded("a:443")
    holder.end()
    assert (holder.ask(), first.holds, second.holds) == (False, 1, 0)
    first.end()
    assert (second.holds, holder.holds) == (1, 0)
    second.end()
    assert holder.holds == 1 and not hosts.crowded("a:443")


def test_who_has_no_use_for_it_any_more_is_passed_over() -> None:
    hosts = Hosts(1)
    holder, gone, waiting = Lane(hosts), Lane(hosts), Lane(hosts)
    holder.ask(), gone.ask(), waiting.ask()
    gone.wants = 0
    holder.end()
    assert waiting.holds == 1
    waiting.wants = 0
    waiting.end()
    assert gone.holds == 0 and Lane(hosts).ask()


@given(st.integers(1, 4), st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=60))
def test_never_more_than_the_most_and_no_place_is_lost(most: int, steps: list[tuple[int, bool]]) -> None:
    hosts = Hosts(most)
    lanes = [Lane(hosts, wants=7) for _ in range(6)]
    for number, ask in steps:
        if ask:
            lanes[number].ask()
        elif lanes[number].holds:
            lanes[number].end()
        assert sum(lane.holds for lane in lanes) <= most
        if hosts.crowded("a:443"):
            assert sum(lane.holds for lane in lanes) == most
    for lane in lanes:
        lane.wants = 0
    while any(lane.holds for lane in lanes):
        next(lane for lane in lanes if lane.holds).end()
    assert hosts._taken == {} and hosts._lines == {}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://Example.com/a", "https://example.com:443/b?c", True),
        ("https://m\u00fcller.de/", "https://xn--mller-kva.de/", True),
        ("https://example.com/", "https://example.com:8443/", False),
        ("https://a.example.com/", "https://b.example.com/", False),
        ("not a url", "not a url", True),
    ],
)
def test_a_host_is_counted_under_one_name(one: str, other: str, same: bool) -> None:
    assert (party_of(one) == party_of(other)) is same
