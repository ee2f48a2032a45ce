"""What may be called: judges URLs when they are given to us and addresses when they are dialled. Pure.

Names are judged twice. A URL is judged as text when it arrives; what its host resolves to is judged at every new
connection, and the judged address is the one that is dialled, so an answer that changes in between changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address

from service.net.address import PRIVATE, THIS_MACHINE, Address, Network, denied, unwrap
from service.net.url import BadUrl, Parts, parse

LOOPBACK: tuple[Address, ...] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
ITSELF = "this service itself"
_METADATA_NAMES = frozenset({"metadata.google.internal"})
_ALLOW = "TASKRELAY_EGRESS__ALLOW"
_PORTS = "TASKRELAY_EGRESS__PORTS"


class NetError(Exception):
    """A call did not work out."""


class Blocked(NetError):
    """The policy does not let this be called; trying again changes nothing."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A URL that was judged. `inside_only`: whatever its host resolves to must lie inside the operator's allow list."""

    scheme: str
    host: str
    port: int
    path: str
    origin: str
    address: Address | None
    inside_only: bool

    @property
    def url(self) -> str:
        return self.origin + self.path


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's word on what may be called. `ports`: None for any. `denied_hosts`: our own public names.

    Inside `allow`, where other services may share our host, we are `own_origins`, host and port, and on any loopback
    address `own_ports`.
    """

    allow: tuple[Network, ...] = ()
    ports: frozenset[int] | None = frozenset({443})
    denied_hosts: frozenset[str] = frozenset()
    own_origins: frozenset[tuple[str, int]] = frozenset()
    own_ports: frozenset[int] = frozenset()
    inside_only: bool = False

    def inside(self) -> Policy:
        """The same, for targets that must lie inside `allow`."""
        return replace(self, inside_only=True)

    def allows(self, address: Address) -> bool:
        return any(address in network for network in self.allow)

    def refuse_address(self, address: Address) -> str | None:
        """Why this address must not be dialled, or None. The operator's list wins over every table."""
        address = unwrap(address)
        if getattr(address, "scope_id", None) is None and self.allows(address):
            return None
        if self.inside_only:
            return f"outside {_ALLOW}, and so needs https and a public name"
        return ITSELF if str(address) in self.denied_hosts else denied(address)

    def refuse_socket(self, address: Address, port: int) -> str | None:
        """Why no connection may be made there, or None."""
        address = unwrap(address)
        if self._is_own(str(address), port, address):
            return ITSELF
        return self.refuse_address(address)

    def _is_own(self, host: str, port: int, address: Address | None) -> bool:
        on_this_machine = is_this_machine(host) or (
            address is not None and (address.is_loopback or address.is_unspecified)
        )
        return (host, port) in self.own_origins or (on_this_machine and port in self.own_ports)

    def judge_answers(self, host: str, answers: Iterable[str]) -> tuple[Address, ...]:
        """The addresses of `host` that may be dialled. One forbidden answer condemns them all: an attacker mixes them."""
        addresses = tuple(_read(answer) for answer in answers)
        if is_this_machine(host):  # no DNS behind this name (RFC 6761), so its two addresses need no common verdict
            addresses = tuple(address for address in addresses if self.allows(address))
            if not addresses:
                raise Blocked(f"{host} is {THIS_MACHINE}, which {_ALLOW} does not include")
        for address in addresses:
            if reason := self.refuse_address(address):
                raise Blocked(f"{host} resolves to {address}, which is {reason}")
        return tuple(unwrap(address) for address in addresses)

    def judge_url(self, url: str) -> Target:
        """Judge a URL as text. Raises `Blocked` with a reason that names the setting which would allow it."""
        try:
            parts = parse(url)
        except BadUrl as fault:
            raise Blocked(str(fault)) from None
        inside_only = self._judge_host(parts)
        if parts.scheme == "http" and not inside_only:
            if not self.allow or parts.address is not None:
                raise Blocked(
                    f"{parts.origin} is not encrypted; use https. Plain http is for addresses inside {_ALLOW}"
                )
            inside_only = True
        if not self._port_allowed(parts.port):
            raise Blocked(
                f"{parts.origin}: port {parts.port} is not allowed. To allow it here: {self._ports_with(parts)}"
            )
        return Target(
            scheme=parts.scheme,
            host=parts.host,
            port=parts.port,
            path=parts.path,
            origin=parts.origin,
            address=parts.address,
            inside_only=inside_only,
        )

    def _judge_host(self, parts: Parts) -> bool:
        """Refuse the host, or say whether it lies (literals), or must turn out to lie (names), inside `allow`."""
        if self._is_own(parts.host, parts.port, parts.address and unwrap(parts.address)):
            raise Blocked(f"{parts.origin} is {ITSELF}; events are not delivered to their sender")
        if parts.address is not None:
            if reason := self.refuse_address(parts.address):
                raise Blocked(self._explain(parts, reason, unwrap(parts.address)))
            return self.allows(unwrap(parts.address))
        if is_this_machine(parts.host):
            if not any(self.allows(address) for address in LOOPBACK):
                raise Blocked(self._explain(parts, THIS_MACHINE, LOOPBACK[0]))
            return True
        if parts.host in _METADATA_NAMES:
            raise Blocked(f"{parts.host} is a cloud metadata service, which is never called")
        if parts.host in self.denied_hosts:
            raise Blocked(f"{parts.host} is {ITSELF}; events are not delivered to their sender")
        if parts.host.endswith((".local", ".internal")) or parts.host in ("local", "internal"):
            if not self.allow:
                raise Blocked(
                    f"{parts.host} is a name of a private network. To allow it here, put that network in {_ALLOW}"
                )
            return True
        return False

    def _explain(self, parts: Parts, reason: str, address: Address) -> str:
        said = f"{parts.origin} is {reason}, which taskrelay does not call by default."
        if reason not in (THIS_MACHINE, PRIVATE) or address.is_unspecified:
            return said  # nobody should be one copy and paste away from a metadata service
        network = (
            "127.0.0.0/8" if address.is_loopback and address.version == 4 else f"{address}/{address.max_prefixlen}"
        )
        allow = f"add {network} to {_ALLOW}" if self.allow else f"{_ALLOW}={network}"
        ports = () if self._port_allowed(parts.port) else (self._ports_with(parts),)
        return f"{said} To allow it here: {(', and ' if self.allow else ' ').join((allow, *ports))}"

    def _port_allowed(self, port: int) -> bool:
        return self.ports is None or port in self.ports

    def _ports_with(self, parts: Parts) -> str:
        return f"{_PORTS}={','.join(str(port) for port in sorted({*(self.ports or ()), parts.port}))}"


def is_this_machine(host: str) -> bool:
    """Whether a name means the machine we run on (RFC 6761)."""
    return host == "localhost" or host.endswith(".localhost")


def _read(answer: str) -> Address:
    try:
        return ip_address(answer)
    except ValueError:
        raise Blocked("the resolver's answer is not an address") from None
