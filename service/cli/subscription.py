"""What may be said of a subscription on the command line, as the API takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.terminal import USAGE, Stop

Many = Annotated[list[str] | None, typer.Option(show_default=False)]
Events = Annotated[
    list[str] | None,
    typer.Option(
        "--event",
        help="A type such as task.failed or task.*, as often as needed; by default every end of a task.",
        show_default=False,
    ),
]
Description = Annotated[str | None, typer.Option(help="For people.", show_default=False)]
Providers = Annotated[
    list[str] | None,
    typer.Option("--provider", help="Only of such providers; * stands for any text.", show_default=False),
]
Models = Annotated[list[str] | None, typer.Option("--model", help="Only of such models.", show_default=False)]
Metadata = Annotated[
    list[str] | None, typer.Option(help="name=pattern: only tasks that carry it; repeatable.", show_default=False)
]
Format = Annotated[str | None, typer.Option(help="standard, cloudevents or openai.", show_default=False)]
Headers = Annotated[
    list[str] | None,
    typer.Option("--header", help="name=value, sent with every attempt; repeatable.", show_default=False),
]
Signatures = Annotated[
    list[str] | None,
    typer.Option("--signature", help="v1 (HMAC), v1a (Ed25519), or both; by default v1.", show_default=False),
]
MaxInFlight = Annotated[int | None, typer.Option(help="Attempts at a time.", show_default=False)]
RateLimit = Annotated[int | None, typer.Option(help="Attempts a second.", show_default=False)]
RetrySchedule = Annotated[
    str | None, typer.Option(metavar="SECONDS", help="Waits before each retry, such as 5,300,1800.", show_default=False)
]
ExpiresAt = Annotated[
    str | None, typer.Option(metavar="INSTANT", help="Such as 2027-01-31T00:00:00Z.", show_default=False)
]
SecretFile = Annotated[
    Path | None,
    typer.Option(
        help="Your own secret, whsec_…, from a file: on the command line everybody could see it.", show_default=False
    ),
]


def body_of(
    *,
    target: str | None,
    events: list[str] | None,
    description: str | None,
    provider: list[str] | None,
    model: list[str] | None,
    metadata: list[str] | None,
    format: str | None,
    headers: list[str] | None,
    signatures: list[str] | None,
    max_in_flight: int | None,
    rate_limit: int | None,
    retry_schedule: str | None,
    expires_at: str | None,
) -> dict[str, Any]:
    """The members that were said. Raises `Stop` for what cannot be read."""
    filter = {"provider": provider, "model": model, "metadata": pairs("--metadata", metadata, many=True)}
    said = {
        "url": target,
        "events": events,
        "description": description,
        "filter": {name: patterns for name, patterns in filter.items() if patterns} or None,
        "format": format,
        "headers": pairs("--header", headers),
        "signatures": signatures,
        "max_in_flight": max_in_flight,
        "rate_limit": rate_limit,
        "retry_schedule": None if retry_schedule is None else seconds(retry_schedule),
        "expires_at": expires_at,
    }
    return {name: value for name, value in said.items() if value not in (None, [], {})}


def pairs(option: str, given: Sequence[str] | None, *, many: bool = False) -> dict[str, Any]:
    """`name=value` as one mapping; with `many`, each name with a list of all its values."""
    found: dict[str, Any] = {}
    for pair in given or ():
        name, separator, value = pair.partition("=")
        if not name or not separator:
            raise Stop(f"{option}: write name=value", USAGE)  # not what was given: it may be a credential
        if many:
            found.setdefault(name, []).append(value)
        else:
            found[name] = value
    return found


def seconds(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise Stop(f"--retry-schedule {text!r}: write whole seconds with commas, such as 5,300,1800", USAGE) from None


def secret_in(path: Path | None) -> dict[str, str]:
    """The member that the file holds, if there is one."""
    if path is None:
        return {}
    try:
        return {"secret": path.read_text(encoding="utf-8").strip()}
    except (OSError, UnicodeDecodeError) as error:
        raise Stop(f"--secret-file: {path} cannot be read: {error}", USAGE) from None


def endpoint_lines(endpoint: Mapping[str, Any]) -> list[str]:
    """An endpoint for a person: what differs from the default, leaving out the rest."""
    filter = endpoint.get("filter") or {}
    narrowed = {name: filter[name] for name in ("provider", "model") if filter.get(name)}
    narrowed |= {f"metadata.{name}": patterns for name, patterns in (filter.get("metadata") or {}).items()}
    rate = f", {endpoint['rate_limit']} a second" if endpoint.get("rate_limit") else ""
    facts = {
        "events": ", ".join(endpoint.get("events") or ()),
        "about": endpoint.get("description"),
        "filter": "; ".join(f"{name} {' or '.join(patterns)}" for name, patterns in narrowed.items()),
        "format": endpoint.get("format"),
        "headers": ", ".join(endpoint.get("headers") or ()),
        "signed": ", ".join(endpoint.get("signatures") or ()),
        "sending": f"{endpoint.get('max_in_flight')} at a time{rate}",
        "retries": ", ".join(f"{wait} s" for wait in endpoint.get("retry_schedule") or ()),
        "expires": endpoint.get("expires_at"),
        "why": endpoint.get("disabled_reason"),
        "inactive": endpoint.get("inactive_since") and f"since {endpoint['inactive_since']}",
        "failing": endpoint.get("failing_since") and f"since {endpoint['failing_since']}",
        "created": endpoint.get("created_at"),
    }
    head = f"{endpoint['id']}  {endpoint['status']}  {endpoint['url']}"
    return [head, *(f"  {name:9}  {fact}" for name, fact in facts.items() if fact)]
