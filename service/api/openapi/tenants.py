"""Projects, API keys and whoami in the document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from service.api.allowance import CURRENCY, MOST_OPEN
from service.api.openapi.endpoints import OVERLAP
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
    line,
    listed,
    one_of,
    or_null,
    query,
    ref,
    within,
)
from service.api.rotation import OVERLAP_DEFAULT
from service.core.event_schema import instant, many, maybe, text, thing, whole, word
from service.pipeline.keys import SCOPES
from service.pipeline.projects import CURRENT
from storage.records import BudgetPeriod, OnAmbiguous

TAG: Final = "Projects and keys"
PROJECT_ID: Final = id_of("prj", "The project's id.")
KEY_ID: Final = id_of("key", "The key's id.")
# With `admin` of any project, else of the caller's own.
ID: Final = in_path(
    "id", {"type": "string", "pattern": f"^(?:{CURRENT}|prj_[0-9A-Z]{{26}})$", "description": "Its id, or `current`."}
)
BUDGET: Final[Mapping[str, Schema]] = {
    "amount": {"type": ["string", "integer"], "description": "How much, more than nothing: a decimal as text."},
    "currency": {"type": "string", "pattern": f"^{CURRENCY.pattern}$", "description": "ISO 4217, such as USD."},
    "period": word("A calendar month (UTC), or all of it.", BudgetPeriod),
}
WISHES: Final[Mapping[str, Schema]] = {
    "name": {"type": "string", "minLength": 1, "maxLength": 128, "description": "What it is called."},
    "on_ambiguous": word("What happens to a purchase of unknown fate, of tasks made from now on.", OnAmbiguous),
    "possible_double_charge": constant(True, "That both may be charged, also past the budget: belongs to `resubmit`."),
    "budget": or_null(closed("What its tasks may come to; null: anything.", BUDGET, needed=BUDGET)),
    "max_open_tasks": or_null(within("How many may be open at a time; null: any number.", 1, MOST_OPEN)),
}
STANDING: Final = maybe(
    thing(
        "What a project's tasks may come to, and have come to.",
        {
            **{name: text("As it was set.") for name in BUDGET},
            "used": text("Spent, or may be. Decimal."),
            "reserved": text("Set aside for tasks that go on. Decimal."),
            "remaining": text("What is left. Decimal."),
            "resets_at": maybe(instant("When it begins anew.")),
        },
    )
)
# What `false` says, which is no schema to openapi-python-client 0.29: it makes no client of a document with one.
NEVER: Final[Schema] = {"not": {}}
# A second charge is accepted in so many words or not at all.
POLICY: Final[Schema] = {
    "oneOf": [
        {"properties": {"on_ambiguous": NEVER, "possible_double_charge": NEVER}},
        {
            "required": ["on_ambiguous"],
            "properties": {"on_ambiguous": {"const": "hold"}, "possible_double_charge": NEVER},
        },
        {
            "required": ["on_ambiguous", "possible_double_charge"],
            "properties": {"on_ambiguous": {"const": "resubmit"}},
        },
    ]
}
_KEY: Final[Mapping[str, Schema]] = {
    "object": constant("key"),
    "id": KEY_ID,
    "name": text("What it is called."),
    "prefix": maybe(text("What it begins with.")),
    "project": PROJECT_ID,
    "scopes": many("What it may do.", one_of("One of them.", SCOPES)),
    "created_at": instant("When it was made."),
    "last_used_at": maybe(instant("When it was last used, to the minute or so.")),
    "revoked_at": maybe(instant("Since when it is good no more.")),
}
_PROJECT: Final[Mapping[str, Schema]] = {
    "object": constant("project"),
    "id": PROJECT_ID,
    "name": text("What it is called."),
    "on_ambiguous": word("What happens to a purchase of unknown fate.", OnAmbiguous),
    "budget": STANDING,
    "max_open_tasks": maybe(whole("How many may be open at a time.")),
    "created_at": instant("When it was made."),
}
_SECRET: Final = text("Signs events that go to a task's own `webhook_url`: `whsec_` and base64.")
SCHEMAS: Final[Mapping[str, Schema]] = {
    "Whoami": thing(
        "The key that asks.",
        {
            **_KEY,
            "project": thing(
                "What it belongs to.",
                {
                    "id": PROJECT_ID,
                    "name": maybe(text("What that is called.")),
                    "budget": _PROJECT["budget"],
                    "max_open_tasks": _PROJECT["max_open_tasks"],
                },
            ),
        },
    ),
    "Key": thing("An API key, without its secret.", _KEY),
    "KeyMade": thing("An API key, shown this once.", {**_KEY, "key": text("The key itself.")}),
    "KeyCreate": closed(
        "An API key.",
        {
            "name": {"type": "string", "minLength": 1, "maxLength": 128, "description": "What it is called."},
            "scopes": {
                "type": "array",
                "items": {"type": "string", "enum": list(SCOPES)},
                "minItems": 1,
                "maxItems": len(SCOPES),
                "description": "What it may do.",
            },
            "project": or_null(
                {"type": "string", "minLength": 1, "maxLength": 128, "description": "Id or name; null: your own."}
            ),
        },
        needed=("name", "scopes"),
    ),
    "Project": thing("A tenant.", _PROJECT),
    "ProjectMade": thing("A tenant, with its secret this once.", {**_PROJECT, "webhook_secret": _SECRET}),
    "ProjectRotated": thing(
        "A tenant, with its new secret.",
        {
            **_PROJECT,
            "webhook_secret": _SECRET,
            "old_secret_retires_at": instant("Until when the old one signs too."),
        },
    ),
    "ProjectCreate": {**closed("A tenant.", WISHES, needed=("name",)), **POLICY},
    "ProjectChange": {**closed("What changes; the rest stays.", WISHES), **POLICY},
    "ProjectSecret": thing(
        "What signs events that go to a task's own `webhook_url`.",
        {
            "object": constant("project_secret"),
            "project": PROJECT_ID,
            "secret": _SECRET,
            "retiring": many(
                "Older ones that sign beside it.", thing("One of them.", {"retires_at": maybe(instant("Until when."))})
            ),
        },
    ),
}
ONE: Final = Answer(about="The project.", schema=ref("Project"))

OPERATIONS: Final[Operations] = {
    ("GET", "/v1/whoami"): Operation(
        id="whoami",
        tag=TAG,
        summary="Which key this is",
        answers={200: Answer(about="The key, without its secret.", schema=ref("Whoami"))},
    ),
    ("POST", "/v1/projects"): Operation(
        id="createProject",
        tag=TAG,
        summary="Make a project",
        body=Body(
            schema=ref("ProjectCreate"),
            examples={
                "plain": {"name": "shop"},
                "bounded": {
                    "name": "shop",
                    "budget": {"amount": "50.00", "currency": "USD", "period": "month"},
                    "max_open_tasks": 20,
                },
            },
        ),
        answers={201: Answer(about="The project, and its secret.", schema=ref("ProjectMade"), headers=("Location",))},
        codes=("project_name_taken",),
    ),
    ("GET", "/v1/projects"): Operation(
        id="listProjects",
        tag=TAG,
        summary="List projects",
        about="Newest first. With `admin` all of them, else your own.",
        parameters=PAGED,
        answers={200: Answer(about="One page.", schema=listed(ref("Project")))},
    ),
    ("GET", "/v1/projects/{id}"): Operation(
        id="getProject", tag=TAG, summary="Read one", parameters=(ID,), answers={200: ONE}, codes=("not_found",)
    ),
    ("PATCH", "/v1/projects/{id}"): Operation(
        id="changeProject",
        tag=TAG,
        summary="Change its name, policy and bounds",
        parameters=(ID,),
        body=Body(
            schema=ref("ProjectChange"),
            examples={
                "policy": {"on_ambiguous": "resubmit", "possible_double_charge": True},
                "bounds": {"budget": None, "max_open_tasks": 20},
            },
        ),
        answers={200: ONE},
        codes=("not_found", "project_name_taken"),
    ),
    ("DELETE", "/v1/projects/{id}"): Operation(
        id="deleteProject",
        tag=TAG,
        summary="Delete one that holds nothing",
        parameters=(ID,),
        answers={204: Answer(about="It is gone.")},
        codes=("not_found", "project_in_use"),
    ),
    ("GET", "/v1/projects/{id}/secret"): Operation(
        id="getProjectSecret",
        tag=TAG,
        summary="What signs events to a task's own webhook_url",
        parameters=(ID,),
        answers={200: Answer(about="The secret.", schema=ref("ProjectSecret"))},
        codes=("not_found",),
    ),
    ("POST", "/v1/projects/{id}/rotate"): Operation(
        id="rotateProjectSecret",
        tag=TAG,
        summary="A new secret beside the old one",
        parameters=(ID,),
        body=Body(
            schema=closed("For how long both sign.", {"overlap_seconds": OVERLAP}),
            examples={"a_day": {"overlap_seconds": OVERLAP_DEFAULT}},
            required=False,
        ),
        answers={200: Answer(about="The project, and its new secret.", schema=ref("ProjectRotated"))},
        codes=("not_found",),
    ),
    ("POST", "/v1/keys"): Operation(
        id="createKey",
        tag=TAG,
        summary="Make an API key",
        body=Body(schema=ref("KeyCreate"), examples={"plain": {"name": "billing", "scopes": ["tasks", "read"]}}),
        answers={201: Answer(about="The key, shown this once.", schema=ref("KeyMade"), headers=("Location",))},
    ),
    ("GET", "/v1/keys"): Operation(
        id="listKeys",
        tag=TAG,
        summary="List keys",
        about="Newest first, revoked ones too. With `admin` of all projects or of one, else of your own.",
        parameters=(*PAGED, query("project", line("Id or name of a project."))),
        answers={200: Answer(about="One page.", schema=listed(ref("Key")))},
    ),
    ("GET", "/v1/keys/{id}"): Operation(
        id="getKey",
        tag=TAG,
        summary="Read one",
        parameters=(in_path("id", KEY_ID),),
        answers={200: Answer(about="The key.", schema=ref("Key"))},
        codes=("not_found",),
    ),
    ("DELETE", "/v1/keys/{id}"): Operation(
        id="revokeKey",
        tag=TAG,
        summary="Revoke one",
        about="204, and 204 again. Every key may revoke itself; another one takes `admin`.",
        parameters=(
            in_path("id", KEY_ID),
            query("last_admin", one_of("Also the last one that has `admin`.", ["true", "false"])),
        ),
        answers={204: Answer(about="Good no more, from the next request on.")},
        codes=("not_found", "missing_scope", "last_admin_key"),
    ),
}
