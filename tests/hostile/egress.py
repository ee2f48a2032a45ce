"""Ten thousand URLs and answers of an attacker's making through the real sender, in a process that strace watches.

As a command it is that process; `audit` starts it and reads what the kernel was asked to connect to.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path

import uvloop

from service.net.guard import Policy
from service.net.resolver import Resolver
from service.net.sender import Sender
from tests.hostile.traced import called, outside, tracing

ALLOWED = ("127.77.0.0/16", "fd77::/16")
PAIRS = 10_000
AT_ONCE = 32
ROOT = Path(__file__).parents[2]

# Networks that are never called, and their neighbours that may be: the edges are where tables are wrong.
NETWORKS = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
    *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16"),
    *("192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    *("168.63.129.16/32", "100.100.100.200/32", "169.254.169.254/32", "127.77.0.0/16", "::/128", "::1/128"),
    *("::/8", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001::/32"),
    *("2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20", "4000::/3", "5f00::/16"),
    *("fc00::/7", "fd00:ec2::254/128", "fe80::/10", "fec0::/10", "ff00::/8", "fd77::/16"),
)
NONSENSE = (
    "",
    "nonsense",
    "127.1",
    "0x7f000001",
    "2130706433",
    "fe80::1%lo",
    "::1%1",
    "[::1]",
    "127.0.0.1 ",
    "1.2.3.4:80",
)


def an_address(dice: random.Random) -> str:
    """A resolver's answer: public, at an edge, or an IPv4 address in an IPv6 coat."""
    kind = dice.randrange(10)
    if kind == 0:
        return dice.choice(NONSENSE)
    if kind <= 3:
        return str(IPv4Address(dice.randrange(1 << 24, 224 << 24)))
    if kind == 4:
        return str(IPv6Address((0x2A << 120) | dice.getrandbits(112)))
    network = ip_network(dice.choice(NETWORKS))
    first, last = int(network.network_address), int(network.broadcast_address)
    make = IPv4Address if network.version == 4 else IPv6Address
    number = dice.choice((first, last, first - 1, last + 1, dice.randint(first, last)))
    number %= 1 << network.max_prefixlen
    if network.version == 4 and kind >= 8:
        coats = (0xFFFF << 32, 0x0064FF9B << 96, 0, 0xFFFF0000 << 16)  # mapped, NAT64, compatible, translated
        coat = dice.choice((*coats, None, None))
        if coat is not None:
            return str(IPv6Address(coat | number))
        return str(IPv6Address((0x2002 << 112) | number << 80 | 1))  # 6to4
    return str(make(number))


def a_host(dice: random.Random, number: int) -> str:
    """What stands in a URL: mostly names, and addresses in every spelling."""
    kind = dice.randrange(10)
    if kind <= 5:
        return f"n{number}.example{dice.choice(('', '.', ''))}"
    address = an_address(dice)
    if kind <= 7:
        return f"[{address}]" if ":" in address else address
    plain = int(IPv4Address(dice.randrange(1 << 32)))
    spelled = (
        hex(plain),
        str(plain),
        f"{plain >> 24:#o}.{plain & 0xFFFFFF}",
        "127。0。0。1",
        "localhost",
        "a.localhost",
        "metadata.google.internal",
        f"user@n{number}.example",
        f"n{number}.example#@127.0.0.1",
        f"n{number}.example\\@127.0.0.1",
        "x.local",
        "0",
    )
    return dice.choice(spelled)


def a_url(dice: random.Random, number: int) -> str:
    scheme = dice.choice(("https", "https", "https", "http", "HTTPS", "ftp"))
    port = dice.choice(("", "", ":443", ":80", ":8443", ":22", ":0", ":99999"))
    return f"{scheme}://{a_host(dice, number)}{port}/x"


class Answers:
    """A name's servers, which may say another thing each time."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice

    def __call__(self, host: str) -> Sequence[str]:
        if self._dice.random() < 0.05:
            raise OSError("no answer")
        return [an_address(self._dice) for _ in range(self._dice.choice((1, 1, 1, 1, 2, 2, 3, 4)))]


async def _send_all(seed: int, pairs: int, policy: Policy) -> Counter[str]:
    dice = random.Random(seed)
    resolver = Resolver(lookup=Answers(random.Random(seed + 1)))
    sender = Sender(policy, resolver, user_agent="egress", timeout_seconds=2.0)
    outcomes: Counter[str] = Counter()

    async def post(number: int) -> None:
        url = a_url(dice, number)
        for _ in range(dice.choice((1, 1, 2))):  # the second time its servers may say something else
            outcomes[(await sender.post(url, b"{}", {})).error_class or "sent"] += 1

    for start in range(0, pairs, AT_ONCE):
        await asyncio.gather(*(post(number) for number in range(start, min(start + AT_ONCE, pairs))))
    await sender.aclose()
    resolver.close()
    return outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """`outside`: addresses that were called and must not be. `calls`: connect() and sendto() to the network in all."""

    pairs: int
    outcomes: dict[str, int]
    calls: int
    addresses: int
    inside: int
    outside: list[str]


def audit(folder: Path, *, pairs: int = PAIRS, seed: int = 1, unguarded: bool = False) -> Audit:
    """Run it under strace, where every connect() is logged and none leaves the machine."""
    log = folder / "egress.trace"
    watched = tracing(log, "connect,sendto,sendmsg", "-e", "inject=connect:error=ECONNREFUSED")
    command = [*watched, sys.executable, "-m", "tests.hostile.egress", str(seed), str(pairs), str(int(unguarded))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with log.open(errors="replace") as lines:
        seen = called(lines)
    addresses = {address for address, _ in seen}
    return Audit(
        pairs=pairs,
        outcomes=json.loads(done.stdout),
        calls=seen.total(),
        addresses=len(addresses),
        inside=sum(any(one in ip_network(net) for net in ALLOWED) for one in addresses),
        outside=outside(addresses, ALLOWED),
    )


def main() -> None:
    seed, pairs, unguarded = (int(text) for text in sys.argv[1:])
    everything: Callable[[], Policy] = lambda: Policy(  # noqa: E731
        allow=(ip_network("0.0.0.0/0"), ip_network("::/0")), ports=None
    )
    guarded = Policy(allow=tuple(ip_network(one) for one in ALLOWED), ports=None)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcomes = runner.run(_send_all(seed, pairs, everything() if unguarded else guarded))
    print(json.dumps(outcomes))  # noqa: T201


if __name__ == "__main__":
    main()
