"""Which addresses are never called, written down apart from the code that decides it, as plain numbers."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

# (first, last)
V4 = [
    (0x00000000, 0x00FFFFFF),  # 0/8
    (0x0A000000, 0x0AFFFFFF),  # 10/8
    (0x64400000, 0x647FFFFF),  # 100.64/10, with 100.100.100.200
    (0x7F000000, 0x7FFFFFFF),  # 127/8
    (0xA83F8110, 0xA83F8110),  # 168.63.129.16
    (0xA9FE0000, 0xA9FEFFFF),  # 169.254/16
    (0xAC100000, 0xAC1FFFFF),  # 172.16/12
    (0xC0000000, 0xC00000FF),  # 192.0.0/24
    (0xC0000200, 0xC00002FF),  # 192.0.2/24
    (0xC01FC400, 0xC01FC4FF),  # 192.31.196/24
    (0xC034C100, 0xC034C1FF),  # 192.52.193/24
    (0xC0586300, 0xC05863FF),  # 192.88.99/24
    (0xC0A80000, 0xC0A8FFFF),  # 192.168/16
    (0xC0AF3000, 0xC0AF30FF),  # 192.175.48/24
    (0xC6120000, 0xC613FFFF),  # 198.18/15
    (0xC6336400, 0xC63364FF),  # 198.51.100/24
    (0xCB007100, 0xCB0071FF),  # 203.0.113/24
    (0xE0000000, 0xFFFFFFFF),  # 224/4, 240/4
]
EDGES_V4 = sorted({n for low, high in V4 for n in (low - 1, low, high, high + 1) if 0 <= n < 1 << 32})


def forbidden_v4(number: int) -> bool:
    return any(low <= number <= high for low, high in V4)


def forbidden_v6(number: int) -> bool:
    head = number >> 96  # first 32 bits
    if number >> 32 == 0xFFFF:
        return forbidden_v4(number & 0xFFFFFFFF)
    if not 0x20000000 <= head <= 0x3FFFFFFF:
        return True
    return (
        0x20010000 <= head <= 0x200101FF  # 2001::/23
        or head == 0x20010DB8
        or head >> 16 == 0x2002
        or number >> 80 == 0x2620004F8000
        or 0x3FFF0000 <= head <= 0x3FFF0FFF  # 3fff::/20
    )


def forbidden(address: IPv4Address | IPv6Address) -> bool:
    return forbidden_v4(int(address)) if address.version == 4 else forbidden_v6(int(address))
