"""What an account is not asked for just now because its provider said so: a hold for purchases, another for questions.

A hold that is over lets one request through, on trial; its answer lifts the hold or renews it. A refused key or balance
and "not so fast" are the two reasons; a party that does not answer at all is the breaker's affair.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Self

from service.core.observation import Claim, Reading
from service.core.times import SECOND
from storage.records import FailureCode

TRIAL_EVERY: Final = 300 * SECOND  # a refused key or balance is tried again so often: three calls in ten minutes
LONGEST_BACK_OFF: Final = 30  # seconds, where the provider names none
# A task lives for two hours unless its client says otherwise. Whoever asks for more than an hour is asked once an hour.
LONGEST_WISH: Final = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """One kind of request that is not made before `until`. `times`: answers in a row that asked for it; 0: none did.

    `since`: when the last of them came.
    """

    until: int = 0
    since: int = 0
    times: int = 0
    reason: str | None = None
    refused_since: int | None = None  # the key or the balance, without an answer to the contrary
    code: FailureCode | None = None  # which of the two

    def held(self, now: int) -> bool:
        return self.until > now

    def caught_up(self, now: int) -> Self:
        """The hold after a clock was set back: one from the future is over, and the trial may go out."""
        return self if self.since <= now else replace(self, until=now, since=now)

    def resumed(self, at: int) -> Self:
        """The hold after a person said that key and balance are in order: one request tries it, and its answer decides."""
        if self.refused_since is None or self.since >= at:
            return self
        return replace(self, until=min(self.until, at), refused_since=None, code=None, reason=None)

    def after(self, reading: Reading, *, sent_at: int, now: int) -> Self:
        """The hold after an answer that asks for one."""
        if self.times and sent_at < self.until:
            # Sent before we were told: the same news, sixteen times over. Only a longer wish is heard.
            return replace(self, until=max(self.until, now + wish(reading)))
        refused_since = self.refused_since
        if refused_since is None and reading.account_refused:
            refused_since = now
        wait = wish(reading)
        if refused_since is not None:
            wait = max(wait, TRIAL_EVERY)
        elif not wait:
            wait = min(1 << min(self.times, 10), LONGEST_BACK_OFF) * SECOND
        return replace(
            self,
            until=now + wait,
            since=now,
            times=self.times + 1,
            reason=reading.failure.message if reading.failure is not None else reading.detail,
            refused_since=refused_since,
            code=reading.failure.code if reading.account_refused and reading.failure is not None else self.code,
        )


FREE: Final = Hold()
LONGEST_MESSAGE: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """The last answer that was no good, for people. `code`: a failure's, or the claim's own word."""

    at: int
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Holds:
    """Both holds of an account."""

    submits: Hold = FREE
    queries: Hold = FREE
    trouble: Trouble | None = None  # what last went wrong with the account; kept after it is over

    @property
    def free(self) -> bool:
        """Whether nothing is held."""
        return not (self.submits.times or self.queries.times)

    @property
    def both_refused(self) -> bool:
        """One key opens both doors: while both are shut, one trial is enough for the two."""
        return self.submits.refused_since is not None and self.queries.refused_since is not None

    def caught_up(self, now: int) -> Self:
        submits, queries = self.submits.caught_up(now), self.queries.caught_up(now)
        same = submits is self.submits and queries is self.queries
        return self if same else replace(self, submits=submits, queries=queries)

    def resumed(self, at: int) -> Self:
        """The holds after a person said so at that moment, 0 for never; what is refused from then on counts."""
        if not at:
            return self
        submits, queries = self.submits.resumed(at), self.queries.resumed(at)
        same = submits is self.submits and queries is self.queries
        return self if same else replace(self, submits=submits, queries=queries)

    def after(self, reading: Reading, *, bought: bool, sent_at: int, now: int) -> Self:
        """The holds after the answer to a purchase (`bought`) or to a question that was sent at `sent_at`."""
        mine, other = (self.submits, self.queries) if bought else (self.queries, self.submits)
        if _fine(reading, bought):
            if not mine.times or sent_at < mine.until:
                return self
            return self._with(FREE, other, bought)
        if not asks_for_a_pause(reading):
            return self
        mine = mine.after(reading, sent_at=sent_at, now=now)
        if mine.refused_since is not None and other.refused_since is not None:
            other = replace(other, until=max(other.until, mine.until))
        return self._with(mine, other, bought)

    def _with(self, mine: Hold, other: Hold, bought: bool) -> Self:
        return replace(self, submits=mine, queries=other) if bought else replace(self, submits=other, queries=mine)

    def troubled(self, reading: Reading, *, now: int, secret: str) -> Self:
        """The holds with what went wrong noted. `secret`: what may not be told, should the provider have quoted it."""
        failure = reading.failure
        said = (failure.message if failure is not None else reading.detail) or "it says no more"
        if secret:
            said = said.replace(secret, "***")
        return replace(self, trouble=Trouble(at=now, code=_code(reading), message=said[:LONGEST_MESSAGE]))

    def dump(self) -> str | None:
        """JSON text for the lane's row; None when nothing is held."""
        if self.free and self.trouble is None:
            return None
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def load(cls, text: str | None) -> Self:
        """What `dump` wrote. Anything else holds nothing: at worst the provider says it again."""
        if text is None:
            return cls()
        try:
            stored = json.loads(text)
            submits, queries = _hold(stored["submits"]), _hold(stored["queries"])
            return cls(submits=submits, queries=queries, trouble=_trouble(stored.get("trouble")))
        except (ValueError, TypeError, KeyError, RecursionError):
            return cls()


def wish(reading: Reading) -> int:
    """How long the provider asks us to wait, in microseconds, as far as it is heard."""
    seconds = reading.retry_after_seconds or 0.0
    return int(min(seconds, LONGEST_WISH) * SECOND) if seconds > 0 else 0


def asks_for_a_pause(reading: Reading) -> bool:
    """Whether an answer says that the account is well known and must wait: refused, or told to slow down."""
    return reading.account_refused or wish(reading) > 0 or reading.busy


def _code(reading: Reading) -> str:
    if reading.failure is not None:
        return reading.failure.code.value
    if reading.account_refused:
        return FailureCode.CREDENTIALS_REFUSED.value
    return FailureCode.RATE_LIMITED.value if reading.busy else reading.claim.value


def _fine(reading: Reading, bought: bool) -> bool:
    """The provider dealt with the matter itself, so it took the key."""
    return reading.claim in (Claim.ACCEPTED, Claim.REFUSED) if bought else reading.claim is not Claim.UNREACHABLE


def _hold(stored: dict[str, Any]) -> Hold:
    hold = Hold(**stored)
    numbers = (hold.until, hold.since, hold.times, hold.refused_since or 0)
    texts = (hold.reason or "", hold.code or "")
    if not all(type(number) is int and number >= 0 for number in numbers) or not all(type(one) is str for one in texts):
        raise ValueError("no hold")
    return replace(hold, code=FailureCode(hold.code) if hold.code is not None else None)


def _trouble(stored: dict[str, Any] | None) -> Trouble | None:
    if stored is None:
        return None
    trouble = Trouble(**stored)
    if type(trouble.at) is not int or not (type(trouble.code) is str and type(trouble.message) is str):
        raise ValueError("no trouble")
    return trouble
