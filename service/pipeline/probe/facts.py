"""Which documented facts held: each with what the documents say, what was seen, and whether they agree. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from service.core.observation import Claim, Reading
from service.core.times import DAY, SECOND, parse_http_date
from service.pipeline.accounts import AccountDesk
from service.pipeline.probe.heard import Exchange, Pushed
from service.pipeline.probe.questions import NOBODY, Answers
from service.providers import link_life
from service.providers.base import Push
from service.providers.documented import Documented, documented
from storage.records import Task

CLOCK_SECONDS = 5
SLOW = 3  # times the documented duration
UNSAID = "not documented"


class Verdict(StrEnum):
    """What became of a documented fact."""

    HELD = "held"
    DIFFERS = "differs"
    NEW = "new"  # not documented, and seen
    UNSEEN = "not seen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One line of the report."""

    name: str
    documented: str
    seen: str
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything one probe gathered. `readings`: of all replies about the job, in order. `charged`: as the end states it."""

    account: AccountDesk
    task: Task
    exchanges: Sequence[Exchange]
    pushes: Sequence[Pushed]
    readings: Sequence[Reading]
    answers: Answers
    links: Sequence[str]
    ended_at: int

    @property
    def bought(self) -> Exchange | None:
        return next((one for one in self.exchanges if one.ask.paid), None)


def facts(seen: Evidence) -> list[Fact]:
    """Every fact that one job can show."""
    told = documented(seen.task.provider, seen.task.model)
    return [
        *_accepted(seen, told),
        *_asked(seen),
        *_pushed(seen, told),
        *_words(seen, told),
        *_end(seen, told),
        *_time(seen),
    ]


def _fact(name: str, says: str | None, seen: str | None, held: bool) -> Fact:
    if seen is None:
        return Fact(name=name, documented=says or UNSAID, seen="-", verdict=Verdict.UNSEEN)
    verdict = Verdict.NEW if says is None else Verdict.HELD if held else Verdict.DIFFERS
    return Fact(name=name, documented=says or UNSAID, seen=seen, verdict=verdict)


def _accepted(seen: Evidence, told: Documented) -> Iterator[Fact]:
    bought, job = seen.bought, seen.task.provider_task_id
    status = bought.reply.status if bought is not None else None
    says = " or ".join(map(str, sorted(told.statuses))) or None
    yield _fact("accept status", says, str(status) if status is not None else None, status in told.statuses)
    place = place_of(bought.reply.body, job) if bought is not None and job else None
    at = place if place is not None or bought is None else "nowhere by itself"
    yield _fact("job id stands at", told.id_at, at, place == told.id_at)
    echoes = [where for one in seen.exchanges if (where := place_of(one.reply.body, seen.task.id))]
    says = None if told.echo is None else "yes" if told.echo else "no"
    yield _fact("our id told back", says, f"yes, at {echoes[0]}" if echoes else "no", bool(echoes) == told.echo)


def _asked(seen: Evidence) -> Iterator[Fact]:
    found, job, traits = seen.answers.found, seen.task.provider_task_id, seen.account.provider.traits
    if traits.look_up:
        word = None if found is None else "finds it" if found.provider_task_id == job else f"{found.claim}"
        yield _fact("look-up by our id or URL", "finds it", word, word == "finds it")
    ours, nobodys = seen.answers.together.get(seen.task.id), seen.answers.together.get(NOBODY)
    if traits.batch > 1:
        apart = ours is not None and nobodys is not None and ours.claim is not nobodys.claim
        word = (
            None if ours is None or ours.claim is Claim.UNREACHABLE else "answered apart" if apart else "not told apart"
        )
        yield _fact("two ids in one query", "answered apart", word, apart)
    absent = nobodys is not None and nobodys.claim is Claim.ABSENT
    yield _fact("an id that nobody has", "not there", str(nobodys.claim) if nobodys else None, absent)
    yield Fact(
        name="our id a second time",
        documented="refused" if traits.resend else UNSAID,
        seen="not tried: where it is not refused it would be bought twice",
        verdict=Verdict.UNSEEN,
    )


def _pushed(seen: Evidence, told: Documented) -> Iterator[Fact]:
    says = None if told.pushes is None else _range(told.pushes)
    count = len(seen.pushes)
    bound = told.pushes or (0, 0)
    tried = seen.account.pushes or not seen.account.provider.traits.callbacks
    if seen.bought is None and count < bound[0]:
        tried = False  # an earlier run bought it, and whatever is missing may have come to that one
    yield _fact("pushes for one job", says, f"{count}{_when(seen)}" if tried else None, bound[0] <= count <= bound[1])
    if not seen.pushes:
        return
    last = seen.pushes[-1]
    place = place_of(last.body, seen.task.provider_task_id or "")
    yield _fact("job id in a push at", told.push_id_at, place or "nowhere by itself", place == told.push_id_at)
    signed = sorted(name for name in last.headers if "signature" in name)
    yield _fact("signature of pushes", None, ", ".join(signed) or "none", True)
    readable = seen.account.provider.read(Push(headers=last.headers, body=last.body)).claim is not Claim.UNKNOWN
    yield _fact("pushes can be read", "yes", "yes" if readable else "no", readable)


def _range(bound: tuple[int, int]) -> str:
    low, high = bound
    return "none" if high == 0 else f"{low}" if low == high else f"{low} to {high}"


def _when(seen: Evidence) -> str:
    """How long after the purchase each came."""
    if seen.bought is None or not seen.pushes:
        return ""
    after = [f"{max(one.at - seen.bought.at, 0) / SECOND:+.1f} s" for one in seen.pushes[:5]]
    return f" at {', '.join(after)}"


def _words(seen: Evidence, told: Documented) -> Iterator[Fact]:
    words = sorted({one.provider_status.lower() for one in seen.readings if one.provider_status})
    says = ", ".join(sorted(told.words)) or None
    yield _fact("status words", says, ", ".join(words) or None, set(words) <= told.words)


def _end(seen: Evidence, told: Documented) -> Iterator[Fact]:
    expected, charged = seen.task.cost_estimated, seen.task.cost_charged
    says = None if told.charge is None else f"{expected} {seen.task.cost_unit}"
    yield _fact("charge stated", says, f"{charged} {seen.task.cost_unit}" if charged else None, charged == expected)
    ends = [at for link in seen.links if (at := link_life.of_link(link)) is not None]
    days = round((min(ends) - seen.ended_at) / DAY, 1) if ends else None
    says = f"{told.link_days} days" if told.link_days is not None else None
    held = days is not None and told.link_days is not None and abs(days - told.link_days) <= 1
    yield _fact("result link lives", says, f"{days:g} days, it says" if days is not None else None, held)


def _time(seen: Evidence) -> Iterator[Fact]:
    bought, usual = seen.bought, seen.account.provider.traits.expected_seconds
    took = (seen.ended_at - bought.at) / SECOND if bought is not None else None
    held = took is not None and took <= usual * SLOW
    yield _fact("a job takes", f"about {usual} s", f"{took:.1f} s" if took is not None else None, held)
    stated = [
        (at - one.at) / SECOND
        for one in seen.exchanges
        if (at := parse_http_date(one.reply.headers.get("date", "")[:64])) is not None
    ]
    ahead = max(stated, key=abs) if stated else None
    held = ahead is not None and abs(ahead) <= CLOCK_SECONDS
    yield _fact("its clock and ours", "agree", f"{ahead:+.0f} s" if ahead is not None else None, held)


def place_of(body: bytes, wanted: str) -> str | None:
    """Where a value stands in a JSON body, such as `data.id`; the shallowest. Text that only contains it does not count."""
    try:
        tree = json.loads(body)
    except (ValueError, RecursionError):
        return None
    level: list[tuple[str, Any]] = [("", tree)]
    while level:
        for path, value in level:
            if not isinstance(value, dict | list) and str(value) == wanted:
                return path
        level = [inner for path, value in level for inner in _inside(path, value)]
    return None


def _inside(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((f"{path}.{name}" if path else str(name), inner) for name, inner in value.items())
    elif isinstance(value, list):
        yield from ((f"{path}[]" if path else "[]", inner) for inner in value)
