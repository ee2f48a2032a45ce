"""Parts that every adapter reads with: total on any value, bounded, and free of secrets."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Sequence
from decimal import Decimal
from urllib.parse import quote, urlsplit

from service.core import money
from service.core.plain_text import usable
from service.core.times import SECOND, parse_http_date
from service.providers.base import BadReply, Reply, parse_reply
from storage.records import Failure, FailureCode

MAX_RAW = 16 * 1024
MAX_URL = 2048
SHORTEST_SECRET = 11  # of those that `redact` knows by their looks
ASKABLE = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)

# Our own callback token wherever a provider echoes the URL, however often its slashes are escaped, and credentials by their looks.
_SECRETS = re.compile(
    rb"""((?:/|%2F)callbacks(?:\\*/|%2F)[a-z0-9_-]{1,64}(?:\\*/|%2F))[^\s"'<>?\#&,;)\\]+"""
    rb"""|(\bbearer\s+)[^\s"'<>,;\\]{12,}|(\b(?:ulazai_live_|aio_|sk-|whsec_))[A-Za-z0-9_+/=.-]{8,}""",
    re.IGNORECASE,
)
_NUMBERS = re.compile(r"[0-9.]+|(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+))*\.?")
_NO_LINK = re.compile(r"[\s\\\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# A name that is no number, with neither user nor port.
_PLAIN_LINK = re.compile(r"https://(?:[a-z0-9-]+\.)+[a-z][a-z0-9-]*(?:[/?#].*)?", re.DOTALL)
_CONTENT = re.compile(r"risk control|content policy|content safety|sensitive|moderat|prohibited|nsfw", re.IGNORECASE)


def redact(raw: bytes, secrets: Sequence[str] = ()) -> bytes:
    """The bytes without callback tokens and credentials."""
    for secret in secrets:
        plain = secret.encode()
        for form in (plain, plain.replace(b"/", b"\\/"), quote(secret, safe="").encode()):
            raw = raw.replace(form, b"***")
    # Every secret the pattern finds holds one of these words; looking for them first costs a tenth of the pattern.
    low = raw.lower()
    if not (
        b"callbacks" in low
        or b"bearer" in low
        or b"_live_" in low
        or b"aio_" in low
        or b"sk-" in low
        or b"whsec_" in low
    ):
        return raw
    return _SECRETS.sub(lambda found: (found[1] or found[2] or found[3]) + b"***", raw)


def spotless(raw: bytes) -> bool:
    """Whether no text in this JSON can hold a secret: the bytes have none, and no escape that could spell one.

    Asked once per message, it spares its texts the same question: 4 of 23 µs of reading a push.
    """
    return b"\\" not in raw and redact(raw) is raw


def keep(raw: bytes, secrets: Sequence[str] = ()) -> bytes:
    """Evidence for people: redacted first, then cut, so that no half of a secret survives at the cut."""
    return redact(raw, secrets)[:MAX_RAW]


def dumps(value: object) -> bytes:
    """A part of a parsed reply as bytes again, so that a task keeps its own item of a batch and no other's."""
    return json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", errors="replace")


def members(value: object) -> dict[str, object]:
    """The value as an object; empty when it is none."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[object]:
    """The value as a list; empty when it is none."""
    return value if isinstance(value, list) else []


def envelope(reply: Reply) -> dict[str, object]:
    """A reply's outer object; empty when the body is no JSON object. For answers whose HTTP status speaks by itself."""
    try:
        return members(parse_reply(reply.body))
    except BadReply:
        return {}


def text(value: object, limit: int = 500, secrets: Sequence[str] = (), *, spotless: bool = False) -> str | None:
    """A provider's words for people and for our columns: bounded, storable, redacted; None when there are none."""
    if not isinstance(value, str):
        return None
    clean = usable(value)
    if (spotless or len(clean) < SHORTEST_SECRET) and not secrets:
        return clean.strip()[:limit] or None
    written = clean.encode()
    safe = redact(written, secrets)
    if safe is not written:
        clean = safe.decode(errors="replace")
    return clean.strip()[:limit] or None


def first_text(*values: object) -> str | None:
    """The first of several places that holds words, as they came: whoever shows them cleans them with `text`."""
    return next((value for value in values if isinstance(value, str) and value.strip()), None)


def word(value: object) -> str | None:
    """A status word, compared without case and blanks."""
    found = text(value, 64)
    return found.lower() if found else None


def identifier(value: object, *, spotless: bool = False) -> str | None:
    """A provider's id as exact text: 1 to 128 printable characters. A fraction is no id; its digits are already lost."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return str(value)
    if not isinstance(value, str) or not 1 <= len(value) <= 128 or not value.isprintable() or not value.strip():
        return None
    if spotless:
        return value
    written = value.encode()
    return value if redact(written) == written else None


def askable(value: str | None) -> bool:
    """Whether an id may stand in a path or in a comma-separated list."""
    return value is not None and ASKABLE.fullmatch(value) is not None


def whole(value: object) -> int | None:
    """An integer, not a bool."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def percent(value: object) -> int | None:
    """Progress from 0 to 100."""
    found = whole(value)
    return found if found is not None and 0 <= found <= 100 else None


def amount(value: object) -> Decimal | None:
    """An exact amount of zero or more, from text or number."""
    shape = format(value, "f") if isinstance(value, Decimal) else str(value)
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    try:
        return money.amount(shape)
    except money.BadAmount:
        return None


def plain_amount(value: object) -> str | None:
    """An exact amount in its one text."""
    found = amount(value)
    return None if found is None else money.plain(found)


def output_url(value: object, *, spotless: bool = False) -> str | None:
    """A link we may hand on: https, at most 2 kB, a public host name, no userinfo.

    Plain http is taken from this machine only (localhost or a literal loopback address), which is how a sandbox serves.
    Characters outside ASCII are percent-encoded, since the link travels in a Location header.
    """
    if not isinstance(value, str) or len(value) > MAX_URL:
        return None
    if spotless and _plain(value):
        return value  # nearly always; what follows would say the same of it, in 10 µs instead of 2
    if _NO_LINK.search(value):
        return None
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or not host.isascii() or "@" in parts.netloc:
        return None
    here = _loopback(host)
    if not here and (parts.scheme != "https" or "." not in host.strip(".") or _literal(host)):
        return None
    if parts.scheme not in ("https", "http"):
        return None
    written = value.encode()
    if redact(written) != written:
        return None
    link = value if value.isascii() else quote(value, safe="%/:?#[]@!$&'()*+,;=~-._|{}^`\"<>")
    return link if len(link) <= MAX_URL else None


def _plain(value: str) -> bool:
    """Whether it is a link with nothing in it to think about."""
    if not (value.isascii() and value.isprintable()) or " " in value or "\\" in value:
        return False
    return _PLAIN_LINK.fullmatch(value) is not None


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    if ":" not in host and not host[-1].isdigit():
        return False  # a name: what is no number cannot be an address
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _literal(host: str) -> bool:
    # Also the short and hexadecimal spellings of an address that resolvers accept, such as 127.1 and 0x7f.0.0.1.
    return ":" in host or _NUMBERS.fullmatch(host) is not None


def retry_after(reply: Reply) -> float | None:
    """Retry-After in seconds, at most a day. A date is read by the provider's own clock, the reply's `Date`."""
    value = reply.headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]{1,6})?", value, re.ASCII) is not None:
        return min(float(value), 86_400.0)
    at, now = parse_http_date(value), parse_http_date(reply.headers.get("date", "").strip())
    return min((at - now) / SECOND, 86_400.0) if at is not None and now is not None and at > now else None


def failed(provider: str, reason: str | None, code: str | None = None) -> Failure:
    """Why a provider's job failed, in its own words.

    Providers give one free text for every cause. What it looks like chooses our code, never our state.
    """
    if reason is not None and _CONTENT.search(reason):
        kind, said = FailureCode.CONTENT_REJECTED, f"{provider} rejected the content: {reason}"
    elif reason is not None:
        kind, said = FailureCode.PROVIDER_ERROR, f"{provider} failed to make it: {reason}"
    else:
        kind, said = FailureCode.PROVIDER_ERROR, f"{provider} failed to make it and gave no reason."
    retryable = kind is FailureCode.PROVIDER_ERROR
    return Failure(code=kind, message=said, retryable=retryable, provider_code=code, provider_message=reason)
