"""Calling an address from this machine: what an error of the network means, and what a person can do about it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from service.cli.client import this_machine

if TYPE_CHECKING:
    import httpx

SECONDS = 10.0
CONNECT_SECONDS = 5.0


def client(url: str) -> httpx.AsyncClient:
    """Follows nothing, sends no credential. A proxy of the environment cannot reach our own loopback."""
    import httpx

    from service import __version__

    return httpx.AsyncClient(
        headers={"user-agent": f"taskrelay-doctor/{__version__}", "accept-encoding": "identity"},
        timeout=httpx.Timeout(SECONDS, connect=CONNECT_SECONDS),
        follow_redirects=False,
        trust_env=not this_machine(urlsplit(url).hostname or ""),
    )


def why(error: Exception) -> tuple[str, str]:
    """What went wrong, and where to look."""
    import httpx

    causes = list(_causes(error))
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return "its name has no address", "dig +short"
    if broken := next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None):
        return f"its TLS certificate does not hold: {_of_tls(broken)}", "openssl s_client -connect"
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return "nobody listens there (connection refused)", "curl -v"
    if isinstance(error, httpx.TimeoutException):
        return f"no answer within {SECONDS:g} s (a firewall?)", "curl -v"
    return f"the connection broke: {str(error) or type(error).__name__}", "curl -v"


def look_with(tool: str, url: str) -> str:
    """The line that shows the same to a person."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if tool.startswith("dig"):
        return f"{tool} {parts.hostname}   (and mend its DNS record, or the name)"
    return (
        f"{tool} {parts.hostname}:{port}" if tool.startswith("openssl") else f"{tool} {parts.scheme}://{parts.netloc}/"
    )


def _of_tls(error: ssl.SSLError) -> str:
    told = getattr(error, "verify_message", "") or getattr(error, "reason", "") or "handshake failed"
    return str(told).lower()


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        if isinstance(seen, BaseExceptionGroup):
            for one in seen.exceptions:
                yield from _causes(one)
        seen = seen.__cause__ or seen.__context__
