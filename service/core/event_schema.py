"""The bodies of events as JSON Schema (2020-12), for each type and format.

Written once, beside what renders them (`events`, `formats`). Open: inside /v1 members are only added, so nothing here forbids one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

from service.core.care import Cause
from service.core.event_types import CATALOGUE, subject
from service.core.events import EventType
from service.core.formats import JSON, OPENAI_TYPES, SOURCE
from storage.records import Charge, EndpointFormat, EndpointStatus, FailureCode, TaskStatus

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
ISO: Final = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}Z$"

Schema = dict[str, Any]


def event_schema(type: EventType, format: EndpointFormat = EndpointFormat.STANDARD) -> Schema:
    """What the body of this type is in this format."""
    members, needless = MEMBERS[format](type)
    about = f"{type.value}: {CATALOGUE[type].tells}"
    return {"$schema": DIALECT, "title": type.value, **thing(about, members, needless=needless)}


def _standard(type: EventType) -> tuple[Schema, Collection[str]]:
    members = {
        "id": text("The event's id, the same on every attempt; equal to the header webhook-id. De-duplicate on it."),
        "type": {"const": type.value, "description": "The event's type."},
        "timestamp": instant("When it happened."),
        "data": data_schema(type),
        "test": TEST,
    }
    return members, ("test",)


def _cloudevents(type: EventType) -> tuple[Schema, Collection[str]]:
    members = {
        "specversion": {"const": "1.0", "description": "The version of CloudEvents."},
        "id": text("The event's id; equal to the header webhook-id."),
        "source": {"const": SOURCE, "description": "Who says so."},
        "type": {"const": type.value, "description": "The event's type."},
        "subject": text("The id of what it is about; of an account its name."),
        "time": instant("When it happened."),
        "datacontenttype": {"const": JSON, "description": "What data is written in."},
        "data": data_schema(type),
        "test": TEST,
    }
    return members, ("test",)


def _openai(type: EventType) -> tuple[Schema, Collection[str]]:
    members = {
        "id": text("The event's id; equal to the header webhook-id."),
        "object": {"const": "event", "description": "What this is."},
        "type": {"const": OPENAI_TYPES.get(type.value, type.value), "description": "The type, in OpenAI's words."},
        "created_at": whole("When it happened, in seconds since 1970."),
        "timestamp": instant("When it happened."),
        "data": thing("What it is about.", {"id": text("Its id; of an account its name. Read the rest from the API.")}),
        "test": TEST,
    }
    return members, ("test",)


MEMBERS: Final = {
    EndpointFormat.STANDARD: _standard,
    EndpointFormat.CLOUDEVENTS: _cloudevents,
    EndpointFormat.OPENAI: _openai,
}


def data_schema(type: EventType) -> Schema:
    """What `data` is."""
    match subject(type):
        case "task":
            return task_schema(CATALOGUE[type].status)
        case "account":
            return thing("The account.", {**ACCOUNT, **ACCOUNT_TOLD[type]})
        case _:
            return thing("The endpoint, without its URL.", {**ENDPOINT, **ENDPOINT_TOLD[type]})


def task_schema(status: TaskStatus | None) -> Schema:
    """A task as events carry it: without `evidence` and `next`, which the API adds. `status`: the one it has, if known."""
    known = (
        word("Where it stands.", TaskStatus)
        if status is None
        else {"const": status.value, "description": "Its status."}
    )
    return thing("The task as it was then.", {**TASK, "status": known}, needless=("truncated", "erased_at"))


def thing(about: str, members: Mapping[str, Schema], *, needless: Collection[str] = ()) -> Schema:
    """An object. `needless`: members that are not always there."""
    needed = [name for name in members if name not in needless]
    return {"type": "object", "description": about, "required": needed, "properties": dict(members)}


def text(about: str) -> Schema:
    return {"type": "string", "description": about}


def whole(about: str) -> Schema:
    return {"type": "integer", "description": about}


def truth(about: str) -> Schema:
    return {"type": "boolean", "description": about}


def instant(about: str) -> Schema:
    return {"type": "string", "format": "date-time", "pattern": ISO, "description": f"{about} ISO 8601, UTC."}


def word(about: str, words: Iterable[StrEnum]) -> Schema:
    return {"type": "string", "enum": [one.value for one in words], "description": about}


def many(about: str, of: Schema) -> Schema:
    return {"type": "array", "items": of, "description": about}


def maybe(schema: Schema) -> Schema:
    """The same, or null."""
    either = {**schema, "type": [schema["type"], "null"]}
    return either | {"enum": [*schema["enum"], None]} if "enum" in schema else either


TEST: Final[Schema] = {"const": True, "description": "Only where nothing of the kind happened: in a sample, or a test."}

MONEY: Final = maybe(
    thing(
        "The same in money, where a price is known.",
        {
            "estimated": maybe(text("Decimal.")),
            "charged": maybe(text("Decimal.")),
            "currency": text("ISO 4217, such as USD."),
        },
    )
)
AMOUNTS: Final[Schema] = {
    "unit": maybe(text("What the provider counts in.")),
    "estimated": maybe(text("What it should cost. Decimal.")),
    "charged": maybe(text("What the provider says it cost. Decimal.")),
    "money": MONEY,
}

TASK: Final[Schema] = {
    "id": text("The task's id."),
    "object": {"const": "task", "description": "What this is."},
    "status": word("Where it stands.", TaskStatus),
    "phase": maybe(text("What the provider does with it: queued_at_provider or running.")),
    "provider": text("Whose contract it is bought under."),
    "account": text("The account it is bought with."),
    "model": text("The provider's model."),
    "input": {
        "type": "object",
        "description": "What was asked for, defaults spelled out. Its members are those of the model.",
        "additionalProperties": True,
    },
    "progress": maybe(whole("Percent, where the provider says.")),
    "final": truth("Whether its end stands for good. Refund only when it does."),
    "final_at": maybe(instant("Since when it stands for good.")),
    "late": truth("Whether this end came after another one, which was not final."),
    "charge": word("Whether it is paid for, as far as is known.", Charge),
    "output_url": maybe(text("A link to its first output that outlives the provider's own.")),
    "outputs": many(
        "What was made.",
        thing(
            "One file.",
            {
                "type": text("Such as video."),
                "url": text("Where the provider keeps it."),
                "duration": maybe(text("Seconds. Decimal.")),
                "expires_at": maybe(instant("Until when this link is good, where the link or the contract says.")),
            },
        ),
    ),
    "error": maybe(
        thing(
            "Why there is no output.",
            {
                "code": word("A closed set to switch on.", FailureCode),
                "message": text("For people."),
                "retryable": truth("Whether creating it again may work. It will be charged again."),
                "provider_code": maybe(text("The provider's own.")),
                "provider_message": maybe(text("The provider's own.")),
            },
        )
    ),
    "cost": thing(
        "What it costs.",
        {
            **AMOUNTS,
            "surplus": many(
                "Jobs bought beside its own: never used, and charged as well.",
                thing(
                    "One of them.",
                    {
                        "provider_task_id": text("The job's id at the provider."),
                        "account": text("The account that was charged."),
                        "found_at": instant("When it was found."),
                        **AMOUNTS,
                    },
                ),
            ),
        },
    ),
    "provider_task_id": maybe(text("Its job's id at the provider.")),
    "reference": maybe(text("The client's own id.")),
    "metadata": {
        "type": "object",
        "description": "The client's own pairs, as they came.",
        "additionalProperties": {"type": "string"},
    },
    "sequence": whole("Counts the events of the task: sort by it."),
    "created_at": instant("When it was created."),
    "submitted_at": maybe(instant("When its job was first known.")),
    "finished_at": maybe(instant("When it ended.")),
    "updated_at": instant("When it last changed."),
    "deadline_at": instant("When it ends at the latest."),
    "links": thing(
        "Where to go on. They need a key, save output.",
        {
            "self": text("The task."),
            "timeline": text("What happened to it."),
            "cancel": maybe(text("Where it can be canceled, while it can.")),
            "resolve": maybe(text("Where a person can settle it, while one can.")),
            "output": maybe(text("The same as output_url.")),
        },
    ),
    "erased_at": maybe(instant("Only where its content was erased since, at its client's wish.")),
    "truncated": {
        "type": "boolean",  # of a `const` that may be missing openapi-python-client 0.29 writes Python that is none
        "description": "True, and only where input and metadata were left out, because the body was over 256 KiB.",
    },
}

ACCOUNT: Final[Schema] = {
    "name": text("The account's name."),
    "object": {"const": "account", "description": "What this is."},
    "provider": text("Whose contract it is an account of."),
    "status": {"type": "string", "enum": ["active", "paused"], "description": "Whether anything is bought through it."},
    "paused": many(
        "Everything for which nothing is bought. Empty: it buys.",
        thing(
            "One of them.",
            {
                "cause": word("Who or what stopped it.", Cause),
                "since": instant("Since when."),
                "code": maybe(word("What the provider said, as a task's error says it.", FailureCode)),
                "reason": maybe(text("What the provider said.")),
            },
        ),
    ),
    "callbacks_missing_since": maybe(instant("Since when its provider's pushes are missing.")),
    "links": thing("Where to go on.", {"self": text("The account.")}),
}
CAUSE: Final[Schema] = {"cause": word("What this is told for.", Cause)}
ACCOUNT_TOLD: Final[Mapping[EventType, Schema]] = {
    EventType.ACCOUNT_PAUSED: CAUSE,
    EventType.ACCOUNT_RESUMED: CAUSE,
    EventType.ACCOUNT_CALLBACKS_MISSING: {
        "ends_without_push": whole("So many of its last tasks ended without a push.")
    },
}

ENDPOINT: Final[Schema] = {
    "id": text("The endpoint's id."),
    "object": {"const": "endpoint", "description": "What this is."},
    "origin": text("Where it leads to, without path and query: those may be secrets."),
    "description": maybe(text("Its owner's own words.")),
    "status": word("Whether it is sent to.", EndpointStatus),
    "disabled_reason": maybe(text("Why it is disabled.")),
    "links": thing("Where to go on.", {"self": text("The endpoint.")}),
}
ENDPOINT_TOLD: Final[Mapping[EventType, Schema]] = {
    EventType.ENDPOINT_FAILING: {
        "failing_since": instant("When its failures began."),
        "patience_used": whole("Percent of the time after which it is disabled."),
        "reason": text("What came of the last attempt."),
    },
    EventType.ENDPOINT_DISABLED: {"since": instant("Since when it is not sent to.")},
}
