"""Providers, accounts and uploads in the document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from service.api.openapi.words import (
    Answer,
    Body,
    Operation,
    Operations,
    Schema,
    constant,
    free,
    in_path,
    listed,
    number,
    one_of,
    ref,
)
from service.core.event_schema import ACCOUNT, instant, many, maybe, text, thing, truth, whole, word
from service.pipeline.accounts import Callbacks
from service.providers.registry import PROVIDERS

NAME: Final = in_path("name", {"type": "string", "minLength": 1, "description": "Its name."})


_SPANS: Final = {
    "model": text("Of which model."),
    "duration": maybe(whole("Of how many seconds of video; null: of all.")),
    "level": maybe(text("At which level of quality; null: of all.")),
    "jobs": whole("How many there were."),
    "p50": number("Half take no longer, in seconds."),
    "p90": number("Nine of ten take no longer."),
}
_HOLD: Final = maybe(
    thing("What the provider asked us to wait with.", {"until": instant("How long."), "reason": maybe(text("Why."))})
)
_PUSHES: Final = maybe(
    thing(
        "Pushes.",
        {
            "since": instant("Counted since."),
            "expected": whole("So many ends should have been pushed."),
            "seen": whole("So many were."),
        },
    )
)
_ALWAYS: Final = {
    "name": text("The account's name."),
    "object": constant("account"),
    "provider": text("Whose contract it is of."),
    "links": thing("Where to go on.", {"self": text("Itself.")}),
}
_PRICE: Final = thing(
    "A line of the price list; every one that fits counts.",
    {
        "unit": text("What is counted in."),
        "amount": text("Decimal."),
        "per": text("For what."),
        "when": free("Of which input."),
    },
)
_MODEL: Final = thing(
    "One of its models.",
    {
        "name": text("Its name."),
        "inputs": many("Words of the input that it takes.", text("One of them.")),
        "provider_options": many("The contract's own fields that it takes.", text("One of them.")),
        "input_schema": free("JSON Schema of `input`."),
        "provider_options_schema": free("JSON Schema of `provider_options`."),
        "rules": many("What no schema can say.", text("One of them.")),
        "prices": many("What it costs.", _PRICE),
    },
)
_HEALTH: Final = thing(
    "Whether it may be asked just now.",
    {
        "breaker": one_of("Open: it does not answer.", ["closed", "open"]),
        "next_probe_at": maybe(instant("When it is tried again.")),
        "held_until": maybe(instant("Nothing is bought before.")),
        "held_reason": maybe(text("Why.")),
        "refused_since": maybe(instant("Since when key or balance are refused.")),
        "queries_held_until": maybe(instant("It is not asked before.")),
        "queries_held_reason": maybe(text("Why.")),
        "unknown_vocabulary": whole("Answers with words that are not known, since this process started."),
    },
)
_PROVIDERS_ACCOUNT: Final = thing(
    "An account of it.",
    {
        "name": text("Its name."),
        "enabled": truth("Whether it is switched on."),
        "callbacks": maybe(word("What a push does.", Callbacks)),
        "pushes": truth("Whether pushes are to be expected."),
        "unit_price": maybe(text("What one unit costs.")),
        "rate": number("Requests a second."),
        "max_open_tasks": whole("Jobs at the provider at a time."),
        "expected_seconds": number("How long a job takes, until learned."),
        "durations": many("How long jobs take here.", thing("Of one kind.", _SPANS)),
        "health": _HEALTH,
    },
    needless=("unit_price", "rate", "max_open_tasks", "expected_seconds", "durations", "health"),
)
SCHEMAS: Final[Mapping[str, Schema]] = {
    "Provider": thing(
        "A contract.",
        {
            "object": constant("provider"),
            "name": one_of("Its name.", PROVIDERS),
            "models": many("What may be ordered.", _MODEL),
            "traits": thing(
                "What the contract can do.",
                {
                    "callbacks": truth("It pushes."),
                    "batch": whole("Jobs that one query may name."),
                    "look_up": truth("A job whose id was never learned can be found."),
                    "resend": truth("A lost submission may be made again."),
                    "uploads": truth("It takes images."),
                    "expected_seconds": whole("How long a job takes."),
                },
            ),
            "accounts": many("Its accounts here.", _PROVIDERS_ACCOUNT),
        },
    ),
    "Account": thing(
        "A credential at a provider, and how it does. Only the first members are there when it is switched off.",
        {
            **_ALWAYS,
            "enabled": truth("Whether it is switched on."),
            "status": one_of(
                "Draining: paused by a person while jobs are open.", ["active", "paused", "draining", "disabled"]
            ),
            "paused": ACCOUNT["paused"],
            "models": many("What may be ordered with it.", text("A model.")),
            "rate": number("Requests a second."),
            "open_tasks": whole("Jobs open at the provider."),
            "max_open_tasks": whole("How many there may be."),
            "queued": whole("Tasks that wait for it."),
            "next_due_at": maybe(instant("When it has something to do next.")),
            "breaker": thing(
                "Whether it answers.",
                {
                    "state": one_of("Open: it does not.", ["closed", "open"]),
                    "next_probe_at": maybe(instant("When it is tried again.")),
                },
            ),
            "held": thing("What it asked us to wait with.", {"submits": _HOLD, "queries": _HOLD}),
            "last_error": maybe(
                thing(
                    "The last answer that was no good.",
                    {
                        "at": instant("When."),
                        "code": text("A failure's code, or the claim's word."),
                        "message": maybe(text("In its words.")),
                    },
                )
            ),
            "callbacks": thing(
                "Its pushes.",
                {
                    "mode": word("What a push does.", Callbacks),
                    "pushes": truth("Whether any are to be expected."),
                    "missing_since": maybe(instant("Since when they are missing.")),
                    "day": _PUSHES,
                    "week": _PUSHES,
                },
            ),
            "durations": many(
                "How long its jobs take.",
                thing("Of one kind.", {**_SPANS, "p10": number("One of ten takes no longer.")}),
            ),
        },
        needless=(
            "models",
            "rate",
            "open_tasks",
            "max_open_tasks",
            "queued",
            "next_due_at",
            "breaker",
            "held",
            "last_error",
            "callbacks",
            "durations",
        ),
    ),
    "AccountCheck": thing(
        "What one free question brought.",
        {
            "object": constant("account_check"),
            "account": text("The account."),
            "at": instant("When."),
            "reachable": truth("Whether it answered."),
            "credentials": text("What it says of the key."),
            "status_code": maybe(whole("What it answered.")),
            "latency_ms": whole("How long it took."),
            "clock_difference_seconds": maybe(whole("By how much its clock is ahead of ours.")),
            "detail": maybe(text("What it said.")),
        },
    ),
    "Upload": thing(
        "An image that has a URL now.",
        {
            "object": constant("upload"),
            "url": text("Where it is."),
            "public": truth("Whether whoever has the URL can see it."),
            "notice": text("What to know about it."),
            "provider": text("Who keeps it."),
            "account": text("With which account."),
            "type": text("Its media type."),
            "bytes": whole("Its size."),
            "width": whole("In pixels."),
            "height": whole("In pixels."),
        },
    ),
}
_ACCOUNT: Final = Answer(about="The account.", schema=ref("Account"))
_FILE: Final[Schema] = {"type": "string", "contentMediaType": "application/octet-stream"}
_FIELD: Final[dict[str, Any]] = {"type": "string", "minLength": 1, "maxLength": 200}

OPERATIONS: Final[Operations] = {
    ("GET", "/v1/providers"): Operation(
        id="listProviders",
        tag="Providers",
        summary="Contracts, models, accounts",
        answers={200: Answer(about="All of them.", schema=listed(ref("Provider")))},
    ),
    ("GET", "/v1/providers/{name}"): Operation(
        id="getProvider",
        tag="Providers",
        summary="One of them",
        parameters=(in_path("name", one_of("The provider's name.", PROVIDERS)),),
        answers={200: Answer(about="The provider.", schema=ref("Provider"))},
        codes=("not_found",),
    ),
    ("GET", "/v1/accounts"): Operation(
        id="listAccounts",
        tag="Accounts",
        summary="How the credentials at providers do",
        answers={200: Answer(about="All of them.", schema=listed(ref("Account")))},
    ),
    ("GET", "/v1/accounts/{name}"): Operation(
        id="getAccount",
        tag="Accounts",
        summary="One of them",
        parameters=(NAME,),
        answers={200: _ACCOUNT},
        codes=("not_found",),
    ),
    ("POST", "/v1/accounts/{name}/pause"): Operation(
        id="pauseAccount",
        tag="Accounts",
        summary="Buy nothing through it",
        about="Until it is resumed; everything else goes on.",
        parameters=(NAME,),
        answers={200: _ACCOUNT},
        codes=("not_found", "account_disabled"),
    ),
    ("POST", "/v1/accounts/{name}/resume"): Operation(
        id="resumeAccount",
        tag="Accounts",
        summary="Buy again",
        about="Lifts a person's pause, and tries again at once where key or balance were refused.",
        parameters=(NAME,),
        answers={200: _ACCOUNT},
        codes=("not_found", "account_disabled"),
    ),
    ("POST", "/v1/accounts/{name}/check"): Operation(
        id="checkAccount",
        tag="Accounts",
        summary="Ask its provider one free question",
        parameters=(NAME,),
        answers={200: Answer(about="What its answer says.", schema=ref("AccountCheck"))},
        codes=("not_found", "account_disabled", "too_soon"),
    ),
    ("POST", "/v1/uploads"): Operation(
        id="createUpload",
        tag="Uploads",
        summary="Give an image a URL",
        about="At a provider that takes images. JPEG, PNG or WebP, at most 10 MiB.",
        body=Body(
            schema={
                "type": "object",
                "description": "The image, and who is to keep it.",
                "additionalProperties": False,
                "required": ["file"],
                "properties": {
                    "file": {**_FILE, "description": "The image."},
                    "provider": {**_FIELD, "description": "Who is to keep it."},
                    "account": {**_FIELD, "description": "With which account, instead of `provider`."},
                },
            },
            media_type="multipart/form-data",
        ),
        answers={201: Answer(about="Where it is.", schema=ref("Upload"))},
        codes=("upload_failed",),
    ),
}
