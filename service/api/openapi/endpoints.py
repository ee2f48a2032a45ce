"""/v1/endpoints in the document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from service.api.openapi.words import (
    PAGED,
    Answer,
    Body,
    Operation,
    Operations,
    Schema,
    closed,
    constant,
    id_of,
    in_path,
    listed,
    one_of,
    or_null,
    ref,
    stated,
    within,
)
from service.api.rotation import OLD_MOST, OVERLAP_DEFAULT, OVERLAP_MOST
from service.api.subscription import (
    IN_FLIGHT_DEFAULT,
    IN_FLIGHT_MOST,
    RATE_MOST,
    RETRIES_MOST,
    RETRY_LONGEST,
    SECRET,
    SUBSCRIPTIONS,
)
from service.core import extra_headers, filters
from service.core.event_schema import instant, many, maybe, text, thing, whole, word
from service.core.events import EventType
from service.net.client import MASK
from service.pipeline.orders import V1, V1A
from storage.records import EndpointFormat, EndpointStatus

TAG: Final = "Endpoints"
ID: Final = in_path("id", id_of("ep", "The endpoint's id."))
_PATTERN: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": filters.LONGEST}
PATTERNS: Final[Schema] = {
    "anyOf": [_PATTERN, {"type": "array", "items": _PATTERN, "minItems": 1, "maxItems": filters.PATTERNS}],
    "description": "A text or several; `*` stands for any text.",
}
FILTER: Final = closed(
    "Narrows events of tasks. All members must fit, each by one of its patterns.",
    {
        "provider": or_null(PATTERNS),
        "model": or_null(PATTERNS),
        "metadata": or_null(
            {
                "type": "object",
                "propertyNames": {"minLength": 1, "maxLength": filters.LONGEST},
                "additionalProperties": PATTERNS,
                "maxProperties": filters.NAMES,
                "description": "Your own pairs.",
            }
        ),
    },
)
WHSEC: Final[Schema] = {"type": "string", "pattern": f"^{SECRET.pattern}$", "maxLength": 200}
SUBSCRIPTION: Final[Mapping[str, Schema]] = {
    "url": {
        "type": "string",
        "format": "uri",
        "description": "https, at a public address; more is the operator's choice.",
    },
    "events": or_null(
        {
            "type": "array",
            "items": {"type": "string", "enum": list(SUBSCRIPTIONS)},
            "minItems": 1,
            "maxItems": 2 * len(SUBSCRIPTIONS),
            "description": "Types, groups of types, or all. Null or left out: the ends of tasks.",
        }
    ),
    "description": {"type": ["string", "null"], "maxLength": 500, "description": "For people, on one line."},
    "filter": or_null(FILTER),
    "format": maybe(word("How its events are written. Signed alike.", EndpointFormat)),
    "signatures": or_null(
        {
            "type": "array",
            "items": {"type": "string", "enum": [V1, V1A]},
            "minItems": 1,
            "description": "v1: HMAC with the endpoint's secret. v1a: Ed25519 with the project's signing key.",
        }
    ),
    "headers": or_null(
        {
            "type": "object",
            "maxProperties": extra_headers.MOST,
            "propertyNames": {"maxLength": extra_headers.LONGEST_NAME},
            "additionalProperties": {"type": "string", "maxLength": extra_headers.LONGEST_VALUE},
            "description": "Sent with every attempt; kept sealed, shown without values.",
        }
    ),
    "max_in_flight": or_null(within("Attempts at a time.", 1, IN_FLIGHT_MOST, IN_FLIGHT_DEFAULT)),
    "rate_limit": or_null(within("Attempts a second; null: no limit.", 1, RATE_MOST)),
    "retry_schedule": or_null(
        {
            "type": "array",
            "items": {"type": "integer", "minimum": 1, "maximum": RETRY_LONGEST},
            "minItems": 1,
            "maxItems": RETRIES_MOST,
            "description": "Seconds before the second attempt, the third and so on; 14 days together at most.",
        }
    ),
    "expires_at": or_null(stated("From then on it is disabled; within ten years.")),
}
OVERLAP: Final = within("For how long the old one signs beside it.", 0, OVERLAP_MOST, OVERLAP_DEFAULT)
VIEW: Final[Mapping[str, Schema]] = {
    "id": id_of("ep", "The endpoint's id."),
    "object": constant("endpoint"),
    "url": text("Where events go."),
    "events": many("What it hears, also where it named none.", one_of("A type or group.", SUBSCRIPTIONS)),
    "filter": maybe(
        thing(
            "What narrows them.",
            {
                "provider": many("Patterns.", text("One of them.")),
                "model": many("Patterns.", text("One of them.")),
                "metadata": {"type": "object", "additionalProperties": many("Patterns.", text("One of them."))},
            },
            needless=("provider", "model", "metadata"),
        )
    ),
    "format": word("How they are written.", EndpointFormat),
    "signatures": many("What signs them.", one_of("One of them.", [V1, V1A])),
    "headers": {
        "type": "object",
        "additionalProperties": {"const": MASK},
        "description": "Names of what is sent along, without values.",
    },
    "description": maybe(text("Its owner's own words.")),
    "status": word("Whether it is sent to.", EndpointStatus),
    "disabled_reason": maybe(text("Why it is disabled.")),
    "inactive_since": maybe(instant("Since when nothing is sent.")),
    "failing_since": maybe(instant("Since when it fails.")),
    "max_in_flight": whole("Attempts at a time."),
    "rate_limit": maybe(whole("Attempts a second.")),
    "retry_schedule": maybe(many("Its own waits, in seconds.", whole("One of them."))),
    "expires_at": maybe(instant("When its lease ends.")),
    "created_at": instant("When it was made."),
    "updated_at": instant("When it was last changed."),
}
_SECRET: Final = text("What signs its events: `whsec_` and base64.")
SCHEMAS: Final[Mapping[str, Schema]] = {
    "EndpointCreate": closed(
        "A subscription.",
        {**SUBSCRIPTION, "secret": or_null({**WHSEC, "description": "Your own; left out, one is made."})},
        needed=("url",),
    ),
    "EndpointChange": closed("What changes; the rest stays. `null` is the default.", SUBSCRIPTION),
    "Endpoint": thing("A subscriber's URL.", VIEW),
    "EndpointMade": thing("An endpoint with its secret.", {**VIEW, "secret": _SECRET}),
    "EndpointResumed": thing(
        "An endpoint that is sent to again.",
        {**VIEW, "missed_since": maybe(instant("Of one that was disabled: where a replay of `missing` begins."))},
    ),
    "EndpointRotated": thing(
        "An endpoint with its new secret.",
        {**VIEW, "secret": _SECRET, "old_secret_retires_at": instant("Until when the old one signs too.")},
    ),
    "EndpointSecret": thing(
        "What signs now.",
        {
            "object": constant("endpoint_secret"),
            "endpoint": id_of("ep", "The endpoint."),
            "secret": _SECRET,
            "created_at": instant("When it was made."),
            "retiring": many(
                f"Older ones that sign beside it, {OLD_MOST} at most.",
                thing("One of them.", {"created_at": instant("Made."), "retires_at": maybe(instant("Until when."))}),
            ),
        },
    ),
    "EndpointStats": thing(
        "How it did in the last day.",
        {
            "object": constant("endpoint_stats"),
            "endpoint": id_of("ep", "The endpoint."),
            "since": instant("From when on."),
            "attempts": whole("Attempts made."),
            "succeeded": whole("Answered 2xx."),
            "success_rate": {"type": ["number", "null"], "description": "Their share; null where there was none."},
            "failures": {"type": "object", "additionalProperties": {"type": "integer"}, "description": "By class."},
            "duration_ms": thing("How long they took.", {"p50": maybe(whole("Half.")), "p95": maybe(whole("Most."))}),
            "backlog": whole("Deliveries that are pending; counted to 10000."),
            "oldest_pending_at": maybe(instant("Since when the oldest waits.")),
            "next_attempt_at": maybe(instant("When the next one starts.")),
        },
    ),
    "Replay": thing(
        "What was made due.",
        {
            "object": constant("replay"),
            "endpoint": id_of("ep", "The endpoint."),
            "which": one_of("Which ones.", ["missing", "failed"]),
            "since": instant("From when on."),
            "count": whole("How many."),
            "next_since": maybe(instant("Where to go on; null when nothing is left.")),
        },
    ),
}
ONE: Final = Answer(about="The endpoint.", schema=ref("Endpoint"))

OPERATIONS: Final[Operations] = {
    ("POST", "/v1/endpoints"): Operation(
        id="createEndpoint",
        tag=TAG,
        summary="Subscribe a URL",
        about="It gets what happens from now on.",
        body=Body(
            schema=ref("EndpointCreate"),
            examples={
                "ends": {"url": "https://app.example.org/hooks/done"},
                "filtered": {
                    "url": "https://app.example.org/hooks/done",
                    "events": ["task.succeeded", "task.failed"],
                    "filter": {"model": "kling-*", "metadata": {"shop": ["eu-*"]}},
                },
            },
        ),
        answers={201: Answer(about="The endpoint, and its secret.", schema=ref("EndpointMade"), headers=("Location",))},
        codes=("endpoint_limit",),
    ),
    ("GET", "/v1/endpoints"): Operation(
        id="listEndpoints",
        tag=TAG,
        summary="List endpoints",
        about="Newest first, without secrets.",
        parameters=PAGED,
        answers={200: Answer(about="One page.", schema=listed(ref("Endpoint")))},
    ),
    ("GET", "/v1/endpoints/{id}"): Operation(
        id="getEndpoint", tag=TAG, summary="Read one", parameters=(ID,), answers={200: ONE}, codes=("not_found",)
    ),
    ("PATCH", "/v1/endpoints/{id}"): Operation(
        id="changeEndpoint",
        tag=TAG,
        summary="Change one",
        about="Attempts under way end as they began.",
        parameters=(ID,),
        body=Body(schema=ref("EndpointChange"), examples={"rate": {"filter": {"model": "kling-*"}, "rate_limit": 20}}),
        answers={200: ONE},
        codes=("not_found",),
    ),
    ("DELETE", "/v1/endpoints/{id}"): Operation(
        id="deleteEndpoint",
        tag=TAG,
        summary="Unsubscribe",
        about="204, and 204 again. What it is still owed is canceled; a request already on its way may still arrive.",
        parameters=(ID,),
        answers={204: Answer(about="It is gone.")},
        codes=("not_found",),
    ),
    ("POST", "/v1/endpoints/{id}/test"): Operation(
        id="testEndpoint",
        tag=TAG,
        summary="Send a signed sample",
        about="It says `test: true` beside `data`, is not in the feed, and is sent once. Once in 6 seconds.",
        parameters=(ID,),
        body=Body(
            schema=closed("What to send.", {"type": word("The sample's type.", EventType)}),
            examples={"end": {"type": "task.succeeded"}},
            required=False,
        ),
        answers={
            202: Answer(about="The sample's delivery.", schema=ref("Delivery"), headers=("Location",)),
        },
        codes=("not_found", "endpoint_inactive", "too_soon"),
    ),
    ("POST", "/v1/endpoints/{id}/pause"): Operation(
        id="pauseEndpoint",
        tag=TAG,
        summary="Send nothing, keep owing",
        parameters=(ID,),
        answers={200: ONE},
        codes=("not_found", "endpoint_inactive"),
    ),
    ("POST", "/v1/endpoints/{id}/resume"): Operation(
        id="resumeEndpoint",
        tag=TAG,
        summary="Send again, also after it was disabled",
        parameters=(ID,),
        answers={200: Answer(about="The endpoint.", schema=ref("EndpointResumed"))},
        codes=("not_found", "endpoint_inactive"),
    ),
    ("GET", "/v1/endpoints/{id}/secret"): Operation(
        id="getEndpointSecret",
        tag=TAG,
        summary="What signs now",
        parameters=(ID,),
        answers={200: Answer(about="The secret.", schema=ref("EndpointSecret"))},
        codes=("not_found",),
    ),
    ("POST", "/v1/endpoints/{id}/rotate"): Operation(
        id="rotateEndpointSecret",
        tag=TAG,
        summary="A new secret beside the old one",
        parameters=(ID,),
        body=Body(
            schema=closed(
                "For how long both sign.",
                {
                    "overlap_seconds": OVERLAP,
                    "secret": or_null({**WHSEC, "description": "Your own; left out, one is made."}),
                },
            ),
            examples={"a_day": {"overlap_seconds": OVERLAP_DEFAULT}},
            required=False,
        ),
        answers={200: Answer(about="The endpoint, and its new secret.", schema=ref("EndpointRotated"))},
        codes=("not_found",),
    ),
    ("GET", "/v1/endpoints/{id}/stats"): Operation(
        id="getEndpointStats",
        tag=TAG,
        summary="How it did in the last day",
        parameters=(ID,),
        answers={200: Answer(about="Counts.", schema=ref("EndpointStats"))},
        codes=("not_found",),
    ),
    ("POST", "/v1/endpoints/{id}/replay"): Operation(
        id="replayEndpoint",
        tag=TAG,
        summary="Send what it missed or what was given up",
        about="Up to 10000 at once; `next_since` is where to go on.",
        parameters=(ID,),
        body=Body(
            schema=closed(
                "What, and from when on.",
                {"which": one_of("Which ones.", ["missing", "failed"]), "since": stated("From when on.")},
                needed=("which", "since"),
            ),
            examples={"missing": {"which": "missing", "since": "2026-11-20T21:10:00Z"}},
        ),
        answers={202: Answer(about="How many were made due.", schema=ref("Replay"))},
        codes=("not_found", "endpoint_inactive"),
    ),
}
