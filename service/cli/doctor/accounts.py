"""The way out: whether each account's address may be called and answers, and whether its clock agrees with ours."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from service.cli.doctor import trying
from service.cli.doctor.finding import Finding, fine, note, wrong

if TYPE_CHECKING:
    from service.settings import Settings

AGREES_SECONDS = 5
WRONG_SECONDS = 60  # receivers refuse a signature five minutes off; deadlines suffer long before


async def look(settings: Settings, judged: Sequence[Finding] = ()) -> list[Finding]:
    """Every account that is on. Its provider is asked for nothing but an answer: HEAD, without the key.

    `judged`: what the settings alone told; an address that was refused there is not told again.
    """
    from service.bootstrap.policy import reach

    asked: dict[str, list[str]] = {}
    found: list[Finding] = []
    async for account, address, fault in reach(settings):
        if fault is None:
            asked.setdefault(address, []).append(account)
        elif not any(one.text.startswith(f"accounts.{account}: ") for one in judged):
            found.append(_refused(account, address, fault))
    for told in await asyncio.gather(*(_ask(address, accounts) for address, accounts in asked.items())):
        found += told
    return found


def _refused(account: str, address: str, fault: str) -> Finding:
    text = fault if fault.startswith(address) else f"{address}: {fault}"
    if "resolved" in fault:
        return wrong(f"account {account}", text, trying.look_with("dig +short", address))
    text, _, allow = text.partition(" To allow it here: ")
    return wrong(f"account {account}", text, allow or f"TASKRELAY_ACCOUNTS__{account.upper()}__BASE_URL=https://…")


async def _ask(address: str, accounts: list[str]) -> list[Finding]:
    import httpx

    from service.bootstrap.world import clock

    about = f"account {', '.join(accounts)}"
    began = clock()
    try:
        async with trying.client(address) as client, client.stream("HEAD", address) as reply:
            headers, ended = reply.headers, clock()
    except httpx.HTTPError as error:
        text, tool = trying.why(error)
        return [wrong(about, f"{address}: {text}", trying.look_with(tool, address))]
    return [
        fine(about, f"{address} answers in {(ended - began) // 1000} ms"),
        *_clock(headers, (began + ended) // 2, address),
    ]


def _clock(headers: Mapping[str, str], at: int, address: str) -> list[Finding]:
    """What its `Date` says of our clock. It counts whole seconds."""
    from service.core.times import SECOND, parse_http_date

    stated = parse_http_date(headers.get("date", "")[:64])
    if stated is None or abs(ahead := round((stated - at) / SECOND)) <= AGREES_SECONDS:
        return []
    text = f"this machine is {abs(ahead)} s {'behind' if ahead > 0 else 'ahead of'} {address}"
    return [(wrong if abs(ahead) > WRONG_SECONDS else note)("clock", text, "timedatectl set-ntp true")]
