"""The readers of traces can say no."""

from __future__ import annotations

from ipaddress import ip_address

from tests.hostile.egress import ALLOWED
from tests.hostile.traced import called, outside, read_by_port

LOG = """\
71 connect(9<UNIX-STREAM:[5]>, {sa_family=AF_UNIX, sun_path="/run/x"}, 110) = 0
71 connect(9<TCP:[11]>, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("1.1.1.1")}, 16) = -1 EINPROGRESS
72 connect(9<TCPv6:[12]>, {sa_family=AF_INET6, sin6_port=htons(80), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "::ffff:10.0.0.1", &sin6_addr), sin6_scope_id=0}, 28 <unfinished ...>
71 sendto(9<UDP:[13]>, ""..., 40, MSG_NOSIGNAL, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("8.8.8.8")}, 16) = 40
71 connect(9<TCP:[11]>, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("1.1.1.1")}, 16) = -1 ECONNREFUSED (Connection refused) (INJECTED)
71 read(9<TCP:[127.0.0.1:40000->127.0.0.1:5000]>, ""..., 65536) = 700
72 recvfrom(10<TCP:[127.0.0.1:40001->127.0.0.1:5000]>,  <unfinished ...>
71 read(9<TCP:[127.0.0.1:40000->127.0.0.1:5000]>, 0x7f00, 65536) = -1 EAGAIN (Resource temporarily unavailable)
71 read(4<anon_inode:[eventfd]>, ""..., 1024) = 8
72 <... recvfrom resumed>""..., 100, 0, NULL, NULL) = 30
71 read(9<TCP:[127.0.0.1:40000->127.0.0.1:5000]>, ""..., 65536) = 1
""".splitlines()  # noqa: E501


def test_every_address_that_was_called_is_found() -> None:
    assert called(LOG) == {
        (ip_address("1.1.1.1"), 443): 2,
        (ip_address("10.0.0.1"), 80): 1,
        (ip_address("8.8.8.8"), 53): 1,
    }


def test_what_was_read_is_added_up_for_each_connection() -> None:
    assert read_by_port(LOG) == {40000: 701, 40001: 30}


def test_addresses_outside_are_those_that_are_neither_public_nor_allowed() -> None:
    seen = ["1.1.1.1", "127.77.3.4", "fd77::1", "127.0.0.1", "10.0.0.1", "2a00::1", "64:ff9b::1", "169.254.169.254"]
    found = outside([ip_address(one) for one in seen], ALLOWED)
    assert found == ["10.0.0.1", "127.0.0.1", "169.254.169.254", "64:ff9b::1"]
