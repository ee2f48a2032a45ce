"""What may be called, and by which address we are called ourselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from service.net.guard import NetError, Policy
from service.net.resolver import Resolver
from service.providers.registry import PROVIDERS
from service.settings import Settings


def policy_of(settings: Settings) -> Policy:
    """What may be called."""
    ports = settings.egress.ports
    own = {host} if (host := _host_of(settings.public_url)) else set()
    public = urlsplit(public_url_of(settings))
    return Policy(
        allow=tuple(settings.egress.allow),
        ports=None if ports == "*" else frozenset(ports),
        denied_hosts=frozenset(own),
        own_origins=frozenset({(public.hostname or "", public.port or (443 if public.scheme == "https" else 80))}),
        own_ports=frozenset({settings.port}) if _heard_at_home(settings.host) else frozenset(),
    )


def _heard_at_home(host: str) -> bool:
    """Whether who listens at this host is heard on loopback."""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback or address.is_unspecified


def public_url_of(settings: Settings) -> str:
    """Where clients find us: what is configured, else where we listen."""
    return settings.public_url or f"http://{settings.host}:{settings.port}"


def _host_of(url: str | None) -> str | None:
    return urlsplit(url).hostname if url else None


async def reach(settings: Settings) -> AsyncIterator[tuple[str, str, str | None]]:
    """Each account that may be asked, its address, and why that cannot be called. Resolves names, asks nobody."""
    policy, resolver = policy_of(settings), Resolver()
    try:
        for name, account in settings.accounts.items():
            if not account.enabled or account.provider not in PROVIDERS:
                continue
            address = account.base_url or PROVIDERS[account.provider].base_url
            try:
                target = policy.judge_url(address)
                await resolver.addresses(policy.inside() if target.inside_only else policy, target.host)
            except NetError as error:
                yield name, address, str(error)
            else:
                yield name, address, None
    finally:
        resolver.close()
