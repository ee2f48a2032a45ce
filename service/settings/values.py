"""Small values that settings are made of: how each is written, and what is said when it is written wrongly.

No sentence here repeats what was given: the text may be a secret that landed in the wrong variable.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network, ip_network
from urllib.parse import SplitResult, urlsplit

_RATE = re.compile(r"([1-9][0-9]{0,5})/(s|m|h|d)")
_PRICE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,12})?) ([A-Z]{3})")
_PLACEHOLDER = re.compile(
    rb"change.?(me|it)|example|placeholder|replace.?(me|this)|your.?secret|secret.?key", re.IGNORECASE
)
_BEARER = re.compile(r"[!-~]{16,512}", re.ASCII)
_SPANS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` requests in any `seconds`."""

    count: int
    seconds: int

    @property
    def per_second(self) -> float:
        return self.count / self.seconds

    def __str__(self) -> str:
        return f"{self.count}/{next(unit for unit, span in _SPANS.items() if span == self.seconds)}"


@dataclass(frozen=True, slots=True)
class UnitPrice:
    """What one unit of a provider's own accounting costs, exactly."""

    amount: Decimal
    currency: str

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"


@dataclass(frozen=True, slots=True)
class UnitRate:
    """Units a second of video costs at one quality level; level "" stands for all."""

    level: str
    amount: Decimal

    def __str__(self) -> str:
        return f"{self.level}={self.amount}" if self.level else str(self.amount)


def unit_rate(given: object) -> UnitRate:
    """Read "1080p=1.0", or "0.42" for every level."""
    if isinstance(given, UnitRate):
        return given
    level, _, amount = str(given).rpartition("=")
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", amount.strip()) or not re.fullmatch(
        r"[a-z0-9]{0,16}", level.strip()
    ):
        raise ValueError("must be units a second by level, such as std=0.42,pro=0.84, or one amount for all")
    return UnitRate(level.strip(), Decimal(amount.strip()))


def rate(given: object) -> Rate:
    if isinstance(given, Rate):
        return given
    found = _RATE.fullmatch(given) if isinstance(given, str) else None
    if found is None:
        raise ValueError("must be written as a count and a span: 5/s, 100/m, 24/h or 1000/d")
    return Rate(int(found[1]), _SPANS[found[2]])


def rate_or_off(given: object) -> Rate | None:
    return None if given in (None, "off", "0", 0) else rate(given)


def unit_price(given: object) -> UnitPrice:
    if isinstance(given, UnitPrice):
        return given
    found = _PRICE.fullmatch(given) if isinstance(given, str) else None
    if found is None:
        raise ValueError("must be written as a decimal and a currency: 0.01 USD")
    return UnitPrice(Decimal(found[1]), found[2])


def secret_key(given: object) -> bytes:
    """A key is the bytes of its text, or, after `base64:`, what that decodes to."""
    if not isinstance(given, str | bytes):
        raise ValueError("must be text")
    key = given if isinstance(given, bytes) else given.encode()
    if key.startswith(b"base64:"):
        try:
            key = base64.b64decode(key.removeprefix(b"base64:"), validate=True)
        except binascii.Error:
            raise ValueError("says base64: and is not standard, padded base64") from None
    if len(key) < KEY_BYTES:
        raise ValueError(f"is too short: {len(key)} of at least {KEY_BYTES} bytes. Make one: openssl rand -base64 32")
    # itsdangerous and HMAC accept anything, also what everybody knows.
    if len(set(key)) < 8 or _PLACEHOLDER.search(key):
        raise ValueError("is easily guessed. Make one: openssl rand -base64 32")
    return key


def bearer(given: object) -> object:
    """A secret that is stated in a header as it is."""
    if isinstance(given, str) and not _BEARER.fullmatch(given):
        raise ValueError("must be 16 to 512 visible ASCII characters without blanks. Make one: openssl rand -hex 24")
    return given


def network(given: object) -> IPv4Network | IPv6Network:
    if isinstance(given, IPv4Network | IPv6Network):
        return given
    try:
        nearest = ip_network(given if isinstance(given, str) else "", strict=False)
    except ValueError:
        raise ValueError("must be an address range: 10.1.0.0/16 or fd00::/8") from None
    if given not in (str(nearest), str(nearest.network_address)):
        raise ValueError(f"is not the way to write that range, which is {nearest}")
    return nearest


def ports(given: object) -> str | frozenset[int]:
    items = [given] if isinstance(given, str | int) else given
    if items == ["*"]:
        return "*"
    if not isinstance(items, list | tuple | set | frozenset):
        raise ValueError("must list ports, such as 443,8443, or is *")
    found = [int(item) for item in items if re.fullmatch(r"[0-9]{1,5}", str(item)) and 0 < int(item) < 65536]
    if not found or len(found) < len(items):
        raise ValueError("must list ports from 1 to 65535, such as 443,8443, or is *")
    return frozenset(found)


def _web_url(given: object) -> SplitResult:
    """An http or https URL with a host and nothing that could hide a credential or be lost when a path is appended."""
    if not isinstance(given, str):
        raise ValueError("must be a URL")
    try:
        parts = urlsplit(given)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError("must start with https:// (or http://) and a host")
    if re.search(r"[^\x21-\x7e]|[\\\"<>^`{|}]", given):
        raise ValueError("holds a character that does not belong in a URL")
    if "@" in parts.netloc:
        raise ValueError("holds a user name or password; credentials have settings of their own")
    if "?" in given or "#" in given:
        raise ValueError("must end with its path: no ? and no #")
    return parts


def base_url(given: object) -> str:
    """Where a provider's API begins; requests append to it."""
    return _web_url(given).geturl().rstrip("/")


def public_url(given: object) -> str:
    """Our own origin as the world sees it. We own its whole path space, so it has no path."""
    parts = _web_url(given)
    if parts.path not in ("", "/"):
        raise ValueError("must be an origin without a path, such as https://relay.example.com")
    return f"{parts.scheme}://{parts.netloc}"


def origin(given: object) -> str:
    """Whose scripts, as a browser states it."""
    if given == "*":
        raise ValueError("must name each origin: https://tools.example.com; every page of the world is none")
    return public_url(given).lower()


def database_url(given: object) -> str:
    """`sqlite:///relative.db`, `sqlite:////absolute.db` or `postgresql://…`."""
    if not isinstance(given, str):
        raise ValueError("must be a URL")
    if given.startswith("sqlite:///:"):
        raise ValueError("must name a file: a database in memory loses what was acknowledged")
    if given.startswith("sqlite:///") and len(given) > len("sqlite:///"):
        return given
    if re.match(r"postgres(ql)?://.", given):
        return f"postgresql://{given.partition('://')[2]}"  # both are in use, for the same
    raise ValueError(
        "must be sqlite:///taskrelay.db, sqlite:////absolute/path.db or postgresql://user:password@host/name"
    )
