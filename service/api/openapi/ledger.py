"""Usage and the audit in the document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from service.api.openapi.words import (
    AFTER,
    PAGED,
    Answer,
    Operation,
    Operations,
    Schema,
    constant,
    free,
    id_of,
    line,
    listed,
    query,
    ref,
    stated,
)
from service.api.usage import GROUPS, METADATA
from service.core.event_schema import instant, many, maybe, text, thing, truth, whole
from service.core.usage import Part
from service.pipeline.audit_part import COUNTS
from storage.records import TaskStatus

_GROUP: Final[Schema] = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": {"type": ["string", "null"]},
    "description": "By what, and which; null for tasks without.",
}
_PARTS: Final = {part.value: text("Decimal.") for part in Part}
_FINDING: Final = thing(
    "Something that is there and should not be, or the other way round.",
    {"kind": text("Which kind of trouble."), "message": text("For people.")},
)
SCHEMAS: Final[Mapping[str, Schema]] = {
    "Usage": thing(
        "What the tasks of a group came to, in exact sums.",
        {
            "object": constant("usage"),
            "group": _GROUP,
            "tasks": thing(
                "How many.",
                {"total": whole("All."), **{status.value: whole("Of this status.") for status in TaskStatus}},
                needless=tuple(TaskStatus),
            ),
            "costs": many(
                "By unit and currency, which are never added.",
                thing(
                    "Of one unit.",
                    {
                        "unit": text("The contract's."),
                        **_PARTS,
                        "money": maybe(thing("The same in money.", {"currency": text("ISO 4217."), **_PARTS})),
                    },
                ),
            ),
            "unpriced": whole("Jobs that cost something nobody has named."),
        },
    ),
    "Audit": thing(
        "Whether anything is missing: of one stretch.",
        {
            "object": constant("audit"),
            "since": maybe(instant("Looked at from here on.")),
            "counts": thing("How much was looked at.", {name: maybe(whole("So many.")) for name in COUNTS}),
            "next_attempt_at": maybe(instant("When the next pending delivery is tried.")),
            "unexplained": many("What should not be.", {**_FINDING, "additionalProperties": {"type": "string"}}),
            "unknown": many("What cannot be told.", {**_FINDING, "additionalProperties": {"type": "string"}}),
            "cannot_be_known": many("What no reading of the ledger tells.", text("In words.")),
            "has_more": truth("Whether there is more to look at."),
            "next": maybe(text("What to send as `after` to go on.")),
        },
    ),
    "Act": thing(
        "Something that was ordered.",
        {
            "id": id_of("aud", "Its id."),
            "object": constant("act"),
            "at": instant("When."),
            "action": text("What."),
            "key": maybe(text("By which API key; null: by a rule.")),
            "task": maybe(text("Of which task.")),
            "endpoint": maybe(text("Of which endpoint.")),
            "detail": free("How."),
        },
    ),
}

OPERATIONS: Final[Operations] = {
    ("GET", "/v1/usage"): Operation(
        id="getUsage",
        tag="Usage",
        summary="What tasks came to",
        about="Of the tasks made in a span of time. `project` is of all projects and takes the scope admin.",
        parameters=(
            query(
                "group_by",
                {
                    "anyOf": [{"enum": list(GROUPS)}, {"type": "string", "pattern": r"^metadata\..", "maxLength": 500}],
                    "description": f"By what: {', '.join(GROUPS)} or `{METADATA}<name>`.",
                },
                required=True,
            ),
            query("since", stated("From when on; by default 30 days before `until`.")),
            query("until", stated("Up to when; by default now.")),
            *PAGED,
        ),
        answers={
            200: Answer(
                about="One page of groups, by name.",
                schema=listed(
                    ref("Usage"),
                    more={
                        "group_by": text("By what."),
                        "since": instant("From when on."),
                        "until": instant("Up to when."),
                    },
                ),
            )
        },
        codes=("missing_scope",),
    ),
    ("GET", "/v1/audit"): Operation(
        id="checkLedger",
        tag="Audit",
        summary="Is anything missing",
        about="One stretch of it; go on with `next` while `has_more`.",
        parameters=(query("since", stated("From when on.")), AFTER),
        answers={200: Answer(about="What was found.", schema=ref("Audit"))},
    ),
    ("GET", "/v1/audit/log"): Operation(
        id="listActs",
        tag="Audit",
        summary="Who ordered what",
        about="Newest first.",
        parameters=(*PAGED, query("task", line("Of this task.")), query("endpoint", line("Of this endpoint."))),
        answers={200: Answer(about="One page.", schema=listed(ref("Act")))},
    ),
}
