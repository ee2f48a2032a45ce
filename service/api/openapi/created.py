"""POST /v1/tasks in the document: the one vocabulary, and beside it what each model of each contract takes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter

from service.api.openapi.tenants import STANDING
from service.api.openapi.words import Answer, Body, Operation, Schema, constant, free, header, one_of, query, ref
from service.core.event_schema import AMOUNTS, many, maybe, text, thing
from service.core.json_text import MAX_INTEGER
from service.core.request import EVENT_TYPES
from service.core.request import Body as TaskBody
from service.providers import catalogue
from service.providers.base import Model, Provider
from service.providers.registry import PROVIDERS

ABOUT: Final[Mapping[str, str]] = {
    "provider": "Whose contract to buy under; of its accounts the least busy takes it.",
    "account": "One configured account, instead of `provider`.",
    "model": "One of the contract's.",
    "input": "What is wanted, in one vocabulary for all contracts. What a contract lacks is refused by name.",
    "provider_options": "The contract's own fields.",
    "fallbacks": "Asked in order when the one before refused and nothing was made.",
    "metadata": "Your own pairs; come back as they went in.",
    "reference": "Your own id. While its task is open, succeeded or not final, a second create answers 409 and names the first.",
    "webhook_url": "A subscriber for this task alone, signed with the project's secret.",
    "webhook_events": "What it is told; by default the end. Needs `webhook_url`.",
    "deadline_seconds": "What has not ended by then expires.",
}
EXAMPLES: Final[Mapping[str, Any]] = {
    "plain": {
        "provider": "cloudsway",
        "model": "kling-3.0-turbo",
        "input": {"prompt": "A paper boat drifts down a gutter"},
    },
    "with_fallback": {
        "provider": "cloudsway",
        "model": "kling-3.0-turbo",
        "input": {"prompt": "A paper boat drifts down a gutter", "duration": 5, "aspect_ratio": "16:9"},
        "fallbacks": [{"provider": "ulazai", "model": "kling-3.0"}],
        "metadata": {"order": "8842"},
        "reference": "order-8842",
        "deadline_seconds": 3600,
    },
}


def _named(value: Any) -> Any:
    """References of pydantic's to its own definitions as references to components; titles say nothing that names do not."""
    if isinstance(value, dict):
        spread = {name: _named(inner) for name, inner in value.items() if name not in ("title", "$schema")}
        if spread.get("type") in ("integer", "number"):
            spread = {"minimum": -MAX_INTEGER, "maximum": MAX_INTEGER, **spread}  # beyond, no body is read
        if "$ref" in spread:
            spread["$ref"] = spread["$ref"].replace("#/$defs/", "#/components/schemas/")
        return spread
    return [_named(inner) for inner in value] if isinstance(value, list) else value


_TYPES: Final[dict[str, Any]] = TypeAdapter(TaskBody).json_schema()
_MEMBERS: Final[dict[str, Any]] = {
    name: {**_named(schema), "description": ABOUT[name]} for name, schema in _TYPES["properties"].items()
}
_MEMBERS["webhook_events"]["anyOf"][0]["items"] = one_of("A type of event, or all of tasks.", EVENT_TYPES)
_MEMBERS["deadline_seconds"]["default"] = 7200


def models() -> list[tuple[Provider, Model]]:
    return [(provider, model) for provider in PROVIDERS.values() for model in provider.models.values()]


def name_of(provider: Provider, model: Model) -> str:
    """What a model's schemas are called, behind what they are of."""
    return f"{provider.name}.{model.name}"


def order(provider: Provider, model: Model) -> Schema:
    """The body for one model: who, and what that one takes."""
    members = {
        **_MEMBERS,
        "provider": constant(provider.name, ABOUT["provider"]),
        "account": {"type": "null", "description": "Of an account `provider` is not said."},
        "model": constant(model.name, ABOUT["model"]),
        "input": ref(f"Input.{name_of(provider, model)}"),
        "provider_options": {**_named(catalogue.options_schema(model)), "description": ABOUT["provider_options"]},
    }
    return {
        "type": "object",
        "title": name_of(provider, model),
        "description": f"A task of {provider.name}/{model.name}.",
        "additionalProperties": False,
        "required": ["provider", "model", "input"],
        "properties": members,
    }


def by_account() -> Schema:
    """The body that names an account: what it takes is said by the account's contract."""
    members = {
        **_MEMBERS,
        "provider": {"type": "null", "description": "The account's own."},
        "account": {**_MEMBERS["account"]["anyOf"][0], "description": ABOUT["account"]},
        "model": one_of(ABOUT["model"], sorted({model.name for _, model in models()})),
        "input": {**ref("Input"), "description": ABOUT["input"]},
    }
    return {
        "type": "object",
        "title": "by account",
        "description": "A task of one configured account.",
        "additionalProperties": False,
        "required": ["account", "model", "input"],
        "properties": members,
    }


def input_of(model: Model) -> Schema:
    rules = " ".join(model.rules)
    schema: Schema = _named(catalogue.input_schema(model))
    return {**schema, "description": f"What {model.name} takes. {rules}".strip()}


def _fallback() -> Schema:
    """Either a provider or an account, as of the task itself."""
    schema: Schema = _named(_TYPES["$defs"]["Fallback"])
    someone = {"type": "string"}
    schema["properties"]["provider_options"]["description"] = ABOUT["provider_options"]
    schema["oneOf"] = [
        {"required": [one], "properties": {one: someone, other: {"type": "null"}}}
        for one, other in (("provider", "account"), ("account", "provider"))
    ]
    return schema


_BID: Final = {
    "provider": text("Who would be asked."),
    "account": text("With which account."),
    "model": text("For which model."),
    "input": free("The effective input, defaults spelled out."),
    "request": maybe(
        thing(
            "The exact request; key and token are masked.",
            {
                "method": text("Its method."),
                "url": text("Its URL."),
                "headers": {
                    "type": "object",
                    "additionalProperties": {"type": "string"},
                    "description": "Its headers.",
                },
                "body": {"description": "Its body."},
            },
        )
    ),
    "cannot_be_sent": maybe(text("Why there is no request.")),
    "cost": thing("What it would cost.", AMOUNTS),
}
SCHEMAS: Final[Mapping[str, Schema]] = {
    "TaskCreate": {"anyOf": [*(ref(f"TaskCreate.{name_of(*one)}") for one in models()), ref("TaskCreate.by_account")]},
    **{f"TaskCreate.{name_of(*one)}": order(*one) for one in models()},
    "TaskCreate.by_account": by_account(),
    **{f"Input.{name_of(provider, model)}": input_of(model) for provider, model in models()},
    "Input": _named(_TYPES["$defs"]["Input"]),
    "Shot": _named(_TYPES["$defs"]["Shot"]),
    "Camera": _named(_TYPES["$defs"]["Camera"]),
    "Fallback": _fallback(),
    "DryRun": thing(
        "What creating it would send and cost.",
        {
            "object": constant("dry_run"),
            **_BID,
            "fallbacks": many("The same of each fallback.", thing("One of them.", _BID)),
            "budget": STANDING,
        },
    ),
}
CREATE: Final = Operation(
    id="createTask",
    tag="Tasks",
    summary="Create a task",
    about="On disk when answered, and not bought yet. `dry_run=true` judges the same body, stores nothing and sends nothing.",
    parameters=(
        query("dry_run", one_of("Only show what would be sent, and what it would cost.", ["true", "false"])),
        header(
            "Prefer",
            "`wait=N`: hold the line up to so many seconds (60 at most) for the task's end (RFC 7240).",
            {"type": "string", "examples": ["wait=30"]},
        ),
    ),
    body=Body(schema=ref("TaskCreate"), examples=EXAMPLES),
    answers={
        202: Answer(about="The task, stored.", schema=ref("Task"), headers=("Location", "Retry-After")),
        200: Answer(
            about="The task, ended while the line was held; or, of a dry run, what would be sent.",
            schema={"anyOf": [ref("Task"), ref("DryRun")]},
            maybe=("Location", "Preference-Applied"),
        ),
    },
    codes=("reference_taken", "answer_erased", "budget_exhausted", "price_unknown", "too_many_open_tasks"),
)
