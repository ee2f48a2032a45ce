"""Reads strace's log: whom a process called, and how much it read from whom. What our own log says does not count."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

CALLS = "connect,sendto,sendmsg"
READS = "read,recvfrom,recvmsg"

_CALL = re.compile(r"^(?:\[pid +)?\d+\]? +(?:connect|sendto|sendmsg)\(")
_FOUR = re.compile(r'sin_port=htons\((?P<port>\d+)\), sin_addr=inet_addr\("(?P<address>[0-9.]+)"\)')
_SIX = re.compile(r'sin6_port=htons\((?P<port>\d+)\).*?inet_pton\(AF_INET6, "(?P<address>[0-9a-fA-F:.]+)"')
_FRAGMENT = re.compile(r"^(?:\[pid +)?(?P<pid>\d+)\]? +(?P<rest>.*)$")
_READ = re.compile(
    r"^(?:read|recvfrom|recvmsg)\(\d+<TCP(?:v6)?:\[(?P<ours>\S+?)->(?P<theirs>\S+?)\]>.* = (?P<bytes>\d+)$"
)


def tracing(log: Path, calls: str, *more: str) -> tuple[str, ...]:
    """What to put before a command. -D: what we start is the command itself; -yy: sockets are shown with both their ends."""
    return ("strace", "-D", "-f", "-yy", "--seccomp-bpf", "-s", "0", "-e", f"trace={calls}", *more, "-o", str(log))


def called(lines: Iterable[str]) -> Counter[tuple[IPv4Address | IPv6Address, int]]:
    """Every address and port that a socket was told to reach, with how often. UNIX sockets reach nobody else."""
    found: Counter[tuple[IPv4Address | IPv6Address, int]] = Counter()
    for line in lines:
        if _CALL.match(line) and (told := _FOUR.search(line) or _SIX.search(line)):
            address = ip_address(told["address"])
            mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
            found[mapped or address, int(told["port"])] += 1
    return found


def read_by_port(lines: Iterable[str]) -> Counter[int]:
    """Bytes that were read from each TCP connection, by the local port of it."""
    found: Counter[int] = Counter()
    begun: dict[str, str] = {}
    for line in lines:
        if (fragment := _FRAGMENT.match(line.rstrip("\n"))) is None:
            continue
        pid, rest = fragment["pid"], fragment["rest"]
        if rest.endswith("<unfinished ...>"):
            begun[pid] = rest.removesuffix("<unfinished ...>")
        elif rest.startswith("<... ") and pid in begun:
            rest = begun.pop(pid) + rest.partition(" resumed>")[2]
        if (told := _READ.match(rest)) is not None:
            found[int(told["ours"].rpartition(":")[2])] += int(told["bytes"])
    return found


def outside(seen: Iterable[IPv4Address | IPv6Address], allowed: Sequence[str]) -> list[str]:
    """Those of the addresses that neither are public nor were allowed, by a table of the tests' own."""
    from ipaddress import ip_network

    from tests.service.net.denied import forbidden

    networks = [ip_network(one) for one in allowed]
    return sorted({str(one) for one in seen if forbidden(one) and not any(one in network for network in networks)})
