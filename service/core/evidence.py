"""What there is to judge a failed verification by, and the form of a verdict on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from service.core import signature
from service.core.signature import NAMES, Keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """`secrets`: the receiver's, the one in use first. `endpoint`: what taskrelay says it signs with now.

    `sent`: what was or would be sent, by its format. `attempts_at`: when attempts of the delivery started, in µs.
    `now`: when the receiver judged it, in µs.
    """

    headers: Sequence[tuple[str, str]]
    body: bytes
    secrets: Sequence[str]
    now: int
    tolerance_seconds: int = signature.TOLERANCE_SECONDS
    endpoint: Sequence[str] = ()
    sent: Mapping[str, bytes] = field(default_factory=dict)
    attempts_at: Sequence[int] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """`verdict`: one word for a program. `text`: what is the matter. `fix`: what to do; empty when all is well."""

    verdict: str
    text: str
    fix: str = ""
    ok: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """What a signature covers, and the signatures."""

    id: str
    timestamp: str
    offered: Keys
    body: bytes

    def fits(self, keys: Keys) -> bool:
        content = f"{self.id}.{self.timestamp}.".encode("utf-8", "replace") + self.body
        return signature.count_matches(keys, self.offered, content) > 0


def message_of(stated: Mapping[str, str], body: bytes) -> Message | None:
    """None when a header is not of the form it must have."""
    id, timestamp, text = (stated[name] for name in NAMES)
    offered = signature.read_signatures(text)
    if offered is None or not signature.ID.fullmatch(id) or not signature.TIMESTAMP.fullmatch(timestamp):
        return None
    return Message(id, timestamp, offered, body)


def span(seconds: int) -> str:
    """A span for people: 45 s, 5 min, 2 h 3 min, 4 days."""
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min" + (f" {seconds % 60} s" if seconds % 60 else "")
    if seconds < 172_800:
        return f"{seconds // 3600} h" + (f" {seconds % 3600 // 60} min" if seconds % 3600 >= 60 else "")
    return f"{seconds // 86_400} days"
