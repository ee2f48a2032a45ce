"""Asks an account's provider one cheap question now, for a person who wants to know whether key, address and clock are right.

After a job that nobody has: it costs nothing, buys nothing and changes nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from service.core.observation import Claim, Reading
from service.core.schedule import Bucket
from service.core.times import SECOND, parse_http_date
from service.net.client import ProviderClient
from service.net.guard import NetError
from service.pipeline.accounts import AccountDesk
from service.providers.base import Flow, ProviderError, Reply
from storage.records import Task, TaskStatus

NOBODY = "task_" + "0" * 26


class Credentials(StrEnum):
    """What the provider thinks of the key, by its answer."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"  # it was not reached, or its answer says nothing of it


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckDesk:
    """What checking needs. `bucket`: the account's rate in this process, of which a check takes its share."""

    client: ProviderClient
    clock: Callable[[], int]
    bucket: Callable[[str], Bucket]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one question found. `clock_seconds`: how far the provider's clock is ahead of ours, to the second."""

    reachable: bool
    credentials: Credentials
    latency_ms: int
    status: int | None = None
    clock_seconds: int | None = None
    detail: str | None = None


class TooSoon(Exception):
    """The account's rate is used up."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"in {seconds:.1f} s")
        self.seconds = seconds


async def check(account: AccountDesk, desk: CheckDesk) -> Finding:
    """Ask once. Raises `TooSoon`."""
    bucket, began = desk.bucket(account.account.name), desk.clock()
    if not bucket.take(began):
        raise TooSoon((bucket.ready_at(began) - began) / SECOND)
    seen: list[Reply] = []
    nobody = _nobody(account, began)
    flow = _overheard(account.provider.query(account.account, [nobody]), seen)
    try:
        found = await desk.client.drive(flow, account.channel, timeout_seconds=account.query_seconds)
        reading = found.get(nobody.id, Reading(claim=Claim.ABSENT))
    except (NetError, ProviderError) as failure:
        reading = Reading(claim=Claim.UNREACHABLE, detail=str(failure))
    ended, credentials = desk.clock(), _credentials(reading, answered=bool(seen))
    said = reading.detail if credentials is not Credentials.ACCEPTED else None  # that nobody has that job is no news
    return Finding(
        reachable=bool(seen),
        credentials=credentials,
        latency_ms=max(ended - began, 0) // 1000,
        status=seen[-1].status if seen else None,
        clock_seconds=_ahead(seen[-1].headers, (began + ended) // 2) if seen else None,
        detail=said.replace(account.channel.api_key, "***") if said else None,
    )


def _overheard(flow: Flow[Mapping[str, Reading]], seen: list[Reply]) -> Flow[Mapping[str, Reading]]:
    """The same flow, whose replies can be looked at."""
    try:
        ask = next(flow)
        while True:
            reply = yield ask
            seen.append(reply)
            ask = flow.send(reply)
    except StopIteration as done:
        result: Mapping[str, Reading] = done.value
        return result


def _nobody(account: AccountDesk, now: int) -> Task:
    """A task with a job that the provider does not have."""
    return Task(
        id=NOBODY,
        project_id="",
        account=account.account.name,
        provider=account.provider.name,
        model=next(iter(account.provider.models)),
        status=TaskStatus.PROCESSING,
        input="{}",
        provider_task_id=account.provider.traits.no_job,
        deadline_at=now,
        created_at=now,
        updated_at=now,
    )


def _credentials(reading: Reading, *, answered: bool) -> Credentials:
    """It took the key when it dealt with the question itself."""
    if reading.account_refused:
        return Credentials.REFUSED
    if answered and reading.claim is not Claim.UNREACHABLE:
        return Credentials.ACCEPTED
    return Credentials.UNKNOWN


def _ahead(headers: Mapping[str, str], at: int) -> int | None:
    """How many seconds its `Date` is ahead of our clock; it has no parts of a second, so less than one is none."""
    stated = parse_http_date(headers.get("date", "")[:64])
    if stated is None:
        return None
    behind = stated - at
    return 0 if -SECOND <= behind <= SECOND else round(behind / SECOND)
