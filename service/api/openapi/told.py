"""Events, deliveries, event types and signing keys in the document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from service.api.event_types import SAMPLES_DEFAULT, SAMPLES_MOST
from service.api.openapi.endpoints import OVERLAP
from service.api.openapi.words import (
    LIMIT,
    PAGED,
    Answer,
    Body,
    Operation,
    Operations,
    Schema,
    closed,
    constant,
    free,
    header,
    id_of,
    in_path,
    line,
    listed,
    one_of,
    query,
    ref,
    stated,
    within,
)
from service.core.event_schema import instant, many, maybe, text, thing, truth, whole, word
from service.core.events import EventType
from storage.records import DeliveryStatus, EndpointFormat

FORMAT: Final = query("format", word("How the body is written.", EndpointFormat))
TYPE: Final = in_path("type", word("A type of event.", EventType))
FEED: Final = (
    query("type", line("Types, several by commas, a group as `task.*`.", least=1)),
    query("task", line("Of this task alone.")),
    query("created_after", stated("From this moment on.")),
)
PLACE: Final = query(
    "after",
    {
        "type": "string",
        "pattern": "^[A-Za-z0-9_-]{1,120}$",
        "description": "`next` of an earlier page, or the id of an event.",
    },
)
EVENT_ID: Final = in_path("id", id_of("evt", "The event's id."))
DELIVERY_ID: Final = in_path("id", id_of("dlv", "The delivery's id."))
_KEY: Final[Mapping[str, Schema]] = {
    "id": id_of("sgk", "Its id."),
    "object": constant("signing_key"),
    "algorithm": constant("ed25519", "What it signs with."),
    "public_key": {"type": "string", "pattern": "^whpk_", "description": "What receivers verify with."},
    "status": one_of("Whether it is the newest.", ["active", "retiring"]),
    "created_at": instant("When it was made."),
    "expires_at": maybe(instant("Until when it signs.")),
}
SCHEMAS: Final[Mapping[str, Schema]] = {
    "Event": thing(
        "An event as it is signed and sent: its `data` is described by type among the webhooks.",
        {
            "id": id_of("evt", "Its id, the same wherever it is told."),
            "type": word("Its type.", EventType),
            "timestamp": instant("When it happened."),
            "data": free("What it is about, as it was then."),
            "test": {"type": "boolean", "description": "Only of a sample: true."},
        },
        needless=("test",),
    ),
    "Message": thing(
        "A message of the stream, by its fields.",
        {
            "event": text("The event's type."),
            "id": text("A place to go on from: an event's id, or a cursor before the first one."),
            "data": text("The body exactly as it is signed."),
            "retry": {"type": ["integer", "string"], "description": "Milliseconds before a browser reconnects."},
        },
        needless=("event", "id", "data", "retry"),
    ),
    "TypeOfEvent": thing(  # not EventType: so generators call the words of the member `type` of an Event
        "A type of event.",
        {
            "object": constant("event_type"),
            "type": word("Its name.", EventType),
            "description": text("What it tells."),
            "when": text("When it is told."),
            "default": truth("Whether an endpoint hears of it that names no types."),
            "reserved": truth("Whether nothing sends it in this release."),
            "format": word("The format that the schema is of.", EndpointFormat),
            "schema": free("JSON Schema of the body."),
            "links": thing("Where to go on.", {"self": text("Itself."), "samples": text("Samples of it.")}),
        },
    ),
    "Delivery": thing(
        "One event owed to one endpoint.",
        {
            "id": id_of("dlv", "Its id."),
            "object": constant("delivery"),
            "event": id_of("evt", "The event."),
            "event_type": word("Its type.", EventType),
            "task": maybe(id_of("task", "The task it is about.")),
            "endpoint": id_of("ep", "To whom."),
            "origin": maybe(text("Where it is sent, without path and query.")),
            "status": word("Where it stands.", DeliveryStatus),
            "attempts": many(
                "Every try.",
                thing(
                    "One HTTP try.",
                    {
                        "at": instant("When it started."),
                        "status_code": maybe(whole("What was answered.")),
                        "duration_ms": maybe(whole("How long it took; not told of a test.")),
                        "error_class": maybe(text("Why it failed: dns, refused, reset, tls, timeout, blocked, http.")),
                        "response_head": maybe(text("The beginning of what was answered.")),
                    },
                ),
            ),
            "next_attempt_at": maybe(instant("When the next one is due.")),
            "next": ref("Next"),
            "links": thing(
                "Where to go on.",
                {
                    "self": text("Itself."),
                    "retry": maybe(text("Where it can be sent again, while it can.")),
                    "resume": maybe(text("Where its endpoint can be set going.")),
                },
            ),
            "created_at": instant("When it was owed."),
            "updated_at": instant("When it last changed."),
        },
    ),
    "SigningKey": thing("A key pair that signs as v1a.", _KEY),
    "SigningKeyRotated": thing(
        "The new key.", {**_KEY, "retiring": many("Those before, which sign beside it.", ref("SigningKey"))}
    ),
}

OPERATIONS: Final[Operations] = {
    ("GET", "/v1/events"): Operation(
        id="listEvents",
        tag="Events",
        summary="The feed",
        about="Everything that happened in the project, oldest first. Keep `next`, which always comes, to go on from there.",
        parameters=(
            LIMIT,
            PLACE,
            *FEED,
            query("order", one_of("`desc`: newest first.", ["asc", "desc"])),
            query("wait", within("Hold the line up to so many seconds, until there is something.", 0, 60, 0)),
        ),
        answers={200: Answer(about="One page.", schema=listed(ref("Event"), next=text("Where to go on.")))},
        codes=("not_found", "events_gone"),
    ),
    ("GET", "/v1/events/stream"): Operation(
        id="streamEvents",
        tag="Events",
        summary="The feed as it happens",
        about="Server-sent events: `event:` is the type, `id:` names a place to go on from, `data:` is the body as it is signed.",
        parameters=(
            PLACE,
            *FEED,
            header("Last-Event-ID", "The last `id:` that was seen; browsers send it.", {"type": "string"}),
        ),
        answers={
            200: Answer(about="For as long as the client stays.", schema=ref("Message"), media_type="text/event-stream")
        },
        codes=("not_found", "events_gone", "too_many_streams"),
    ),
    ("GET", "/v1/events/{id}"): Operation(
        id="getEvent",
        tag="Events",
        summary="One, byte for byte",
        parameters=(EVENT_ID,),
        answers={200: Answer(about="The body as it is signed and sent.", schema=ref("Event"))},
        codes=("not_found",),
    ),
    ("GET", "/v1/event-types"): Operation(
        id="listEventTypes",
        tag="Events",
        summary="What may be subscribed to",
        parameters=(FORMAT,),
        answers={200: Answer(about="All of them.", schema=listed(ref("TypeOfEvent")))},
    ),
    ("GET", "/v1/event-types/{type}"): Operation(
        id="getEventType",
        tag="Events",
        summary="One of them",
        parameters=(TYPE, FORMAT),
        answers={200: Answer(about="The type.", schema=ref("TypeOfEvent"))},
        codes=("not_found",),
    ),
    ("GET", "/v1/event-types/{type}/samples"): Operation(
        id="listSamples",
        tag="Events",
        summary="The newest of yours, as the hook gets them",
        about="One that never happened, when none did.",
        parameters=(TYPE, FORMAT, query("limit", within("How many.", 1, SAMPLES_MOST, SAMPLES_DEFAULT))),
        answers={200: Answer(about="A bare list of bodies.", schema=many("Bodies.", free("One of them.")))},
        codes=("not_found",),
    ),
    ("GET", "/v1/deliveries"): Operation(
        id="listDeliveries",
        tag="Deliveries",
        summary="What is owed to whom",
        about="Newest first.",
        parameters=(
            *PAGED,
            query("status", word("Where it stands.", DeliveryStatus)),
            query("endpoint", line("To this endpoint.")),
            query("event", line("Of this event.")),
            query("task", line("About this task.")),
        ),
        answers={200: Answer(about="One page.", schema=listed(ref("Delivery")))},
    ),
    ("GET", "/v1/deliveries/{id}"): Operation(
        id="getDelivery",
        tag="Deliveries",
        summary="One, with its attempts",
        parameters=(DELIVERY_ID,),
        answers={200: Answer(about="The delivery.", schema=ref("Delivery"))},
        codes=("not_found",),
    ),
    ("POST", "/v1/deliveries/{id}/retry"): Operation(
        id="retryDelivery",
        tag="Deliveries",
        summary="Send one again",
        about="Due now whatever became of it, with the whole schedule before it again.",
        parameters=(DELIVERY_ID,),
        answers={202: Answer(about="The delivery.", schema=ref("Delivery"), headers=("Location",))},
        codes=("not_found", "endpoint_inactive"),
    ),
    ("GET", "/v1/signing-keys"): Operation(
        id="listSigningKeys",
        tag="Signing keys",
        summary="The public keys of v1a",
        about="All that sign now, newest first.",
        answers={200: Answer(about="Never more than eleven.", schema=listed(ref("SigningKey")))},
    ),
    ("POST", "/v1/signing-keys/rotate"): Operation(
        id="rotateSigningKey",
        tag="Signing keys",
        summary="A new one beside the old one",
        body=Body(
            schema=closed("For how long both sign.", {"overlap_seconds": OVERLAP}),
            examples={"a_week": {"overlap_seconds": 604_800}},
            required=False,
        ),
        answers={200: Answer(about="The new key.", schema=ref("SigningKeyRotated"))},
    ),
}
