"""`endpoints`: subscribe a URL, look at subscriptions, change one, end one. How to look after one: `endpoint_care`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from service.cli import endpoint_care
from service.cli.client import HERE, Api, Key, Url
from service.cli.lists import After, All, Limit, listed, more
from service.cli.subscription import (
    Description,
    Events,
    ExpiresAt,
    Format,
    Headers,
    MaxInFlight,
    Metadata,
    Models,
    Providers,
    RateLimit,
    RetrySchedule,
    SecretFile,
    Signatures,
    body_of,
    endpoint_lines,
    secret_in,
)
from service.cli.terminal import USAGE, Json, Stop, columns, say, show

app = typer.Typer(no_args_is_help=True, help="Subscribe a URL, look after subscriptions, end one.")

EndpointId = endpoint_care.EndpointId


class Default(StrEnum):
    """What can be set back to its default."""

    EVENTS = "events"
    FILTER = "filter"
    FORMAT = "format"
    HEADERS = "headers"
    SIGNATURES = "signatures"
    DESCRIPTION = "description"
    MAX_IN_FLIGHT = "max_in_flight"
    RATE_LIMIT = "rate_limit"
    RETRY_SCHEDULE = "retry_schedule"
    EXPIRES_AT = "expires_at"


@app.command("create")
def create(
    target: Annotated[str, typer.Argument(metavar="URL", help="Where events are sent.", show_default=False)],
    event: Events = None,
    description: Description = None,
    provider: Providers = None,
    model: Models = None,
    metadata: Metadata = None,
    format: Format = None,
    header: Headers = None,
    signature: Signatures = None,
    max_in_flight: MaxInFlight = None,
    rate_limit: RateLimit = None,
    retry_schedule: RetrySchedule = None,
    expires_at: ExpiresAt = None,
    secret_file: SecretFile = None,
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """Subscribe a URL. Its secret is shown once, here."""
    body = body_of(
        target=target, events=event, description=description, provider=provider, model=model, metadata=metadata,
        format=format, headers=header, signatures=signature, max_in_flight=max_in_flight, rate_limit=rate_limit,
        retry_schedule=retry_schedule, expires_at=expires_at,
    )  # fmt: skip
    body |= secret_in(secret_file)
    with Api(url, key) as api:
        made = api.create("/v1/endpoints", body)
    if json:
        show(made)
        return
    say("\n".join(endpoint_lines(made)))
    if made.get("secret") and secret_file is None:
        say(f"  secret     {made['secret']}")
        say("             Verify every event with it; keep it like a password.")


@app.command("list")
def list_endpoints(
    limit: Limit = 50, after: After = None, every: All = False, url: Url = HERE, key: Key = "", json: Json = False
) -> None:
    """List subscriptions, newest first."""
    with Api(url, key) as api:
        page = listed(api, "/v1/endpoints", {}, limit=limit, after=after, whole=every, quiet=json)
    if json:
        show(page)
        return
    rows = [
        (one["id"], one["status"], ",".join(one.get("events") or ["ends"]), one["url"], one.get("disabled_reason"))
        for one in page["data"]
    ]
    columns(rows, head=("ENDPOINT", "STATUS", "EVENTS", "URL", "WHY"))
    more(page)


@app.command("get")
def get(endpoint: EndpointId, url: Url = HERE, key: Key = "", json: Json = False) -> None:
    """Show one subscription, without its secret."""
    with Api(url, key) as api:
        found = api.get(f"/v1/endpoints/{endpoint}")
    tell(found, json)


@app.command("update")
def update(
    endpoint: EndpointId,
    target: Annotated[str | None, typer.Option("--target", help="Send to this URL.", show_default=False)] = None,
    event: Events = None,
    description: Description = None,
    provider: Providers = None,
    model: Models = None,
    metadata: Metadata = None,
    format: Format = None,
    header: Headers = None,
    signature: Signatures = None,
    max_in_flight: MaxInFlight = None,
    rate_limit: RateLimit = None,
    retry_schedule: RetrySchedule = None,
    expires_at: ExpiresAt = None,
    reset: Annotated[
        list[Default] | None, typer.Option(help="Back to its default; repeatable.", show_default=False)
    ] = None,
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """Change what is said; the rest stays. --provider, --model and --metadata together replace the filter."""
    body = body_of(
        target=target, events=event, description=description, provider=provider, model=model, metadata=metadata,
        format=format, headers=header, signatures=signature, max_in_flight=max_in_flight, rate_limit=rate_limit,
        retry_schedule=retry_schedule, expires_at=expires_at,
    )  # fmt: skip
    both = sorted(name for name in reset or () if name in body)
    if both:
        raise Stop(f"{', '.join(both)}: either a value or --reset, not both", USAGE)
    body |= dict.fromkeys(reset or ())
    if not body:
        raise Stop("say what to change; taskrelay endpoints update --help lists what there is", USAGE)
    with Api(url, key) as api:
        found = api.patch(f"/v1/endpoints/{endpoint}", body)
    tell(found, json)


@app.command("delete")
def delete(endpoint: EndpointId, url: Url = HERE, key: Key = "", json: Json = False) -> None:
    """End a subscription. What it is still owed is not sent."""
    with Api(url, key) as api:
        api.delete(f"/v1/endpoints/{endpoint}")
    if json:
        show({"id": endpoint, "deleted": True})
    else:
        say(f"{endpoint}  deleted")


def tell(endpoint: Mapping[str, Any], json: bool) -> None:
    if json:
        show(endpoint)
    else:
        say("\n".join(endpoint_lines(endpoint)))


endpoint_care.add_to(app)
