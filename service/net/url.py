"""Reads a URL that a stranger gave us into parts that every parser downstream agrees on, or says what is wrong with it.

Pure and total: any text gives `Parts` or `BadUrl`. The rules are narrower than RFC 3986 on purpose, because the attacks
live in the difference between two parsers: what one reads as a path, another reads as a host.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

import httpx
import idna

from service.net.address import Address

LONGEST = 2048
_SHAPE = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<rest>[^#]*)(?P<fragment>#.*)?")
_BRACKETED = re.compile(r"\[(?P<host>[^\[\]]*)\](?::(?P<port>.*))?")
_PLAIN = re.compile(r"(?P<host>[^:\[\]]*)(?::(?P<port>.*))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DEFAULT_PORTS = {"https": 443, "http": 80}


class BadUrl(ValueError):
    """The text is not a URL that can be called; the message says why, without echoing the URL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A URL taken apart. `host`: ASCII, lower case, no brackets. `path`: with its query, percent-encoded."""

    scheme: str
    host: str
    port: int
    address: Address | None  # when the host is a literal address
    path: str

    @property
    def origin(self) -> str:
        """Scheme, host and port as people write them; holds nothing secret."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}")


def parse(url: str) -> Parts:
    """Take an absolute http or https URL apart. Raises `BadUrl`, never anything else."""
    if len(url) > LONGEST:
        raise BadUrl(f"the URL is longer than {LONGEST} characters")
    # Also catches lone surrogates, zero-width and bidirectional marks; parsers strip or keep these as they please.
    if not url.isprintable() or " " in url:
        raise BadUrl("the URL holds a space or a character that does not print; percent-encode it")
    if "\\" in url:
        raise BadUrl("the URL holds a backslash, which some programs read as a slash; write / or %5C")
    shape = _SHAPE.fullmatch(url)
    if shape is None:
        raise BadUrl("this is not an absolute URL; write it as https://host/path")
    scheme = shape["scheme"].lower()
    if scheme not in _DEFAULT_PORTS:
        raise BadUrl(f"the scheme {scheme[:20]} is not supported; use https")
    if shape["fragment"] is not None:
        raise BadUrl("the URL has a # part, which is never sent; leave it out")
    host, port, address = _authority(shape["authority"], _DEFAULT_PORTS[scheme])
    parts = Parts(scheme=scheme, host=host, port=port, address=address, path="/")
    return Parts(scheme=scheme, host=host, port=port, address=address, path=_path(parts.origin, shape["rest"]))


def _authority(text: str, default_port: int) -> tuple[str, int, Address | None]:
    if "@" in text:
        raise BadUrl("the URL holds a user name or password; leave out everything up to the @")
    if "%" in text:
        raise BadUrl("the host holds a %; write it without percent-encoding and without a zone")
    if bracketed := _BRACKETED.fullmatch(text):
        literal = _literal_v6(bracketed["host"])
        return str(literal), _port(bracketed["port"], default_port), literal
    plain = _PLAIN.fullmatch(text)
    if plain is None:
        raise BadUrl("the host and port cannot be read; an IPv6 address stands in [brackets]")
    host = _host(plain["host"])
    return host, _port(plain["port"], default_port), _literal_v4(host)


def _port(text: str | None, default: int) -> int:
    if text is None:
        return default
    # int() alone would take "+443", "4_4_3" and digits of other scripts.
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise BadUrl("the port is not a number from 1 to 65535")
    return int(text)


def _literal_v6(text: str) -> IPv6Address:
    try:
        return IPv6Address(text)
    except AddressValueError:
        raise BadUrl("the address in [brackets] is not an IPv6 address") from None


def _literal_v4(host: str) -> IPv4Address | None:
    """`host` as an address. inet_aton() reads 127.1, 0x7f.1, 017700000001 and 2130706433 as addresses too, so does
    getaddrinfo(): a host that ends in a number must be the one canonical form, or nothing."""
    if not _NUMBER.fullmatch(host.rpartition(".")[2]):
        return None
    try:
        return IPv4Address(host)
    except AddressValueError:
        raise BadUrl("the host looks like an IPv4 address but is not four plain decimal numbers") from None


def _host(text: str) -> str:
    if not text:
        raise BadUrl("the URL has no host")
    host = text.lower()
    if host.endswith("."):
        raise BadUrl("the host ends in a dot; write it without")
    try:
        if not host.isascii():
            host = idna.encode(host).decode("ascii")
            if _NUMBER.fullmatch(host.rpartition(".")[2]):  # 127。0。0。1: IDNA knows other full stops
                raise BadUrl("the host is an address in other characters; write it in plain digits")
        elif any(label.startswith("xn--") for label in host.split(".")):
            idna.decode(host)
    except UnicodeError:  # idna.IDNAError is one
        raise BadUrl("the host is not a valid international domain name") from None
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise BadUrl("the host is not a domain name: letters, digits, hyphens and single dots only")
    return host


def _path(origin: str, rest: str) -> str:
    """Path and query, percent-encoded by httpx, which must also agree with us about the host."""
    try:
        parsed = httpx.URL(origin + (rest if rest.startswith("/") else "/" + rest))
        path = parsed.raw_path.decode("ascii")
    except (httpx.InvalidURL, ValueError):
        raise BadUrl("the path or query cannot be read") from None
    if str(parsed.copy_with(raw_path=b"/")) != origin + "/":
        raise BadUrl("the host cannot be read without doubt")
    if len(path) > 4 * LONGEST:
        raise BadUrl("the path is too long")
    return path
