"""What `doctor` says of the settings: what will not work as meant, each with the line that mends it, and what is in force.

Pure: it judges settings that are valid by themselves. What makes them invalid is told by `source.load`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretBytes, SecretStr

from service.settings import shape
from service.settings.model import OFF_UNTIL_ENABLED, AccountSettings, Settings
from service.settings.source import Problem

# Cloudsway gives every customer a path segment of their own; without it there is no address to send to.
NEEDS_ENDPOINT_PATH = frozenset({"cloudsway"})
WIDEST = {4: 8, 6: 7}  # 10.0.0.0/8, fc00::/7: the widest private ranges


def problems(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    providers: Collection[str] = (),
    pushing: Collection[str] | None = None,
    clients: Collection[str] = (),
) -> list[Problem]:
    """Everything an operator should mend or know.

    `providers`: the registry's names; `pushing`: those that push, None for all. `clients`: further variables in use.
    """
    found = [
        *_unknown(environ, clients),
        *_public(settings, pushing),
        *_keys(settings),
        *_accounts(settings, providers),
    ]
    found += [*_egress(settings), *_retention(settings)]
    if settings.unsafe_timing:
        text = f"{shape.PREFIX}UNSAFE_TIMING lifts the floors that keep a task from being bought twice"
        found.append(Problem(text, f"unset {shape.PREFIX}UNSAFE_TIMING   (outside a test)", note=True))
    return sorted(found, key=lambda problem: problem.note)


def masked(settings: Settings) -> dict[str, Any]:
    """The settings in force as plain values; of a secret only whether and how long it is."""
    shown: dict[str, Any] = _plain(settings)
    shown["database_url"] = _without_password(settings.database_url)
    return shown


def _unknown(environ: Mapping[str, str], clients: Collection[str]) -> Iterator[Problem]:
    for name, near in shape.unknown([name for name in environ if name not in clients]):
        fix = f"rename it to {near}" if near else f"unset {name}"
        yield Problem(f"{name} is no setting of taskrelay, so it has no effect", fix)


def _public(settings: Settings, pushing: Collection[str] | None) -> Iterator[Problem]:
    url = settings.public_url
    fix = f"{shape.PREFIX}PUBLIC_URL=https://relay.example.com"
    if url is None:
        text = f"{shape.PREFIX}PUBLIC_URL is not set: providers cannot push, so every task is polled"
        yield Problem(text, f"{fix}   (fine to try without, slower to learn)", note=True)
    elif url.startswith("http://") and not _loopback(urlsplit(url).hostname or ""):
        text = f"{shape.PREFIX}PUBLIC_URL is plain http: callback tokens and outputs travel readable"
        yield Problem(text, fix, note=True)
    elif (caller := _calls_from_outside(settings, pushing)) is not None and _unreachable(urlsplit(url).hostname or ""):
        text = (
            f"{shape.PREFIX}PUBLIC_URL is an address that accounts.{caller}'s provider cannot reach, so no push arrives"
        )
        yield Problem(text, fix)


def _keys(settings: Settings) -> Iterator[Problem]:
    if not settings.secret_keys:
        fix = f'{shape.PREFIX}SECRET_KEYS="$(openssl rand -base64 32)"'
        if not settings.database_url.startswith("sqlite:"):
            text = f"{shape.PREFIX}SECRET_KEYS is not set, and with PostgreSQL every replica needs the same ones"
            yield Problem(text, fix)
        else:
            text = f"{shape.PREFIX}SECRET_KEYS is not set: serve makes taskrelay.secret beside the database"
            yield Problem(text, f"{fix}   (or back that file up)", note=True)


def _accounts(settings: Settings, providers: Collection[str]) -> Iterator[Problem]:
    if not settings.accounts:
        yield Problem("There is no account, so nothing can be bought", _set("<provider>", "API_KEY", "<its key>"))
    elif not any(account.enabled for account in settings.accounts.values()):
        yield Problem(
            "No account is enabled, so nothing can be bought", _set(next(iter(settings.accounts)), "ENABLED", "true")
        )
    for name, account in settings.accounts.items():
        if providers and account.provider not in providers:
            yield _stranger(name, account, providers)
        elif account.enabled:
            yield from _account(name, account, settings)
        elif account.provider in OFF_UNTIL_ENABLED:
            text = f"accounts.{name} is off: {account.provider} documents no replies, so a purchase may go unrecognised"
            yield Problem(text, _set(name, "ENABLED", "true"), note=True)


def _account(name: str, account: AccountSettings, settings: Settings) -> Iterator[Problem]:
    if account.api_key is None:
        yield Problem(f"accounts.{name} has no key", _set(name, "API_KEY", "<its key>"))
    if account.provider in NEEDS_ENDPOINT_PATH and account.endpoint_path is None:
        text = f"accounts.{name} has no endpoint path, and {account.provider} has no other address"
        yield Problem(text, _set(name, "ENDPOINT_PATH", "<the segment it gave you>"))
    if account.callbacks == "trust" and account.webhook_secret is None:
        text = f"accounts.{name} trusts unsigned pushes: who learns a callback URL can end its task"
        yield Problem(text, _set(name, "CALLBACKS", "verify"), note=True)
    if account.base_url is not None:
        yield from _address(name, account.base_url, settings)


def _address(name: str, base_url: str, settings: Settings) -> Iterator[Problem]:
    """Whether requests to this address would be refused at the socket."""
    parts = urlsplit(base_url)
    host, ports = parts.hostname or "", settings.egress.ports
    port = parts.port or (443 if parts.scheme == "https" else 80)
    ranges = settings.egress.allow
    if parts.scheme == "http" and _outside(host, settings):
        allowed = ",".join([*map(str, ranges), _range_of(host)])
        text = f"accounts.{name}: plain http is sent only to addresses inside {shape.PREFIX}EGRESS__ALLOW"
        yield Problem(text, f"{shape.PREFIX}EGRESS__ALLOW={allowed}   (or an https BASE_URL)")
    if ports != "*" and port not in ports:
        text = f"accounts.{name}: port {port} is not among {shape.PREFIX}EGRESS__PORTS"
        yield Problem(text, f"{shape.PREFIX}EGRESS__PORTS={','.join(str(p) for p in sorted({*map(int, ports), port}))}")


def _calls_from_outside(settings: Settings, pushing: Collection[str] | None) -> str | None:
    """An account whose provider pushes from the internet."""
    for name, account in settings.accounts.items():
        at_home = account.base_url is not None and _unreachable(urlsplit(account.base_url).hostname or "")
        pushes = account.callbacks != "off" and (pushing is None or account.provider in pushing)
        if account.enabled and pushes and not at_home:
            return name
    return None


def _unreachable(host: str) -> bool:
    """Whether the internet certainly cannot call this host. A name is looked at when it is tried."""
    try:
        return host == "localhost" or not ip_address(host).is_global
    except ValueError:
        return host.endswith((".localhost", ".local", ".internal", ".lan")) or "." not in host


def _egress(settings: Settings) -> Iterator[Problem]:
    wide = [network for network in settings.egress.allow if network.prefixlen < WIDEST[network.version]]
    if wide:
        kept = ",".join(str(network) for network in settings.egress.allow if network not in wide) or "10.1.0.0/16"
        text = f"{shape.PREFIX}EGRESS__ALLOW holds {', '.join(map(str, wide))}: a subscriber's URL may then reach inside your network"
        yield Problem(text, f"{shape.PREFIX}EGRESS__ALLOW={kept}   (only what you mean)", note=True)


def _retention(settings: Settings) -> Iterator[Problem]:
    forever = [name for name, days in settings.retention if days == 0]
    if forever:
        names = ", ".join(f"{shape.PREFIX}RETENTION__{name.upper()}" for name in forever)
        first = shape.variable(("retention", forever[0]))
        fix = f"{first}={type(settings.retention).model_fields[forever[0]].default}"
        yield Problem(f"{names} keeps for ever, so the database only grows", fix, note=True)


def _outside(host: str, settings: Settings) -> bool:
    """Whether the host certainly lies outside the allowed ranges. A name is judged when it is dialled."""
    if not settings.egress.allow:
        return True
    try:
        address = ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return False
    return not any(address in network for network in settings.egress.allow)


def _range_of(host: str) -> str:
    if _loopback(host):
        return "127.0.0.0/8" if host != "::1" else "::1/128"
    try:
        return f"{ip_address(host)}/{ip_address(host).max_prefixlen}"
    except ValueError:
        return "<its range>"


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _stranger(name: str, account: AccountSettings, providers: Collection[str]) -> Problem:
    near = difflib.get_close_matches(account.provider, list(providers), n=1)
    known = ", ".join(sorted(providers))
    text = f"accounts.{name}: there is no provider of that name; there are {known}"
    return Problem(text, _set(name, "PROVIDER", near[0] if near else sorted(providers)[0]))


def _set(account: str, key: str, value: str) -> str:
    return f"{shape.PREFIX}ACCOUNTS__{account.upper()}__{key}={value}"


def _plain(value: Any) -> Any:
    match value:
        case BaseModel():
            return {name: _plain(item) for name, item in value}
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case frozenset():
            return sorted((_plain(item) for item in value), key=str)
        case tuple() | list():
            return [_plain(item) for item in value]
        case SecretStr() | SecretBytes():
            return f"set, {len(value.get_secret_value())} {'bytes' if isinstance(value, SecretBytes) else 'characters'}"
        case str() | int() | float() | None:
            return value
        case _:
            return str(value)


def _without_password(url: str) -> str:
    """A database URL as it may be shown: no password, wherever libpq allows one; rather too little than too much."""
    url = re.sub(r"(//[^:/?#@]*):.*@", r"\1:***@", url)
    return re.sub(r"(?i)([?&](?:password|sslpassword|passfile)=)[^&]*", r"\1***", url)
