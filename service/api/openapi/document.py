"""The document: every operation there is, put together for one installation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from service import __version__
from service.api.openapi import endpoints, errors, ledger, open_doors, providers, tasks, tenants, told, webhooks
from service.api.openapi.words import Answer, Body, Operation, Schema, header
from service.api.problems import CODES
from service.core.event_types import CATALOGUE
from service.pipeline.keys import SCOPES

PARTS: Final = (tasks, endpoints, told, providers, ledger, tenants, open_doors)
OPERATIONS: Final[Mapping[tuple[str, str], Operation]] = {
    place: operation for part in PARTS for place, operation in part.OPERATIONS.items()
}
SCHEMAS: Final[Mapping[str, Schema]] = {
    name: schema for part in (*PARTS, errors, webhooks) for name, schema in part.SCHEMAS.items()
}
JSON_SCHEMA: Final = "https://json-schema.org/draft/2020-12/schema"
DIALECT: Final = "https://spec.openapis.org/oas/3.1/dialect/base"
ABOUT: Final = """Submits paid generation tasks, learns their end by push or poll, and relays one signed event to every subscriber.

Unknown members and parameters are refused by name; answers may gain members, so ignore what you do not know.
Errors are RFC 9457 problems: switch on `code`. Times are ISO 8601 UTC, amounts decimal texts, ids opaque.
Every GET also takes HEAD. Requests shaped as OpenAI's `/videos` are taken under `/openai/v1`; OpenAI describes them."""

HEADERS: Final[Mapping[str, Schema]] = {
    "X-Request-Id": {"description": "Finds the request in the log.", "schema": {"type": "string"}},
    "Location": {"description": "Where it is.", "schema": {"type": "string"}},
    "Link": {"description": 'The next page, as `rel="next"`, while there is more.', "schema": {"type": "string"}},
    "ETag": {"description": "Names what the answer says.", "schema": {"type": "string"}},
    "Retry-After": {
        "description": "Seconds after which it is worth asking again.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "retry-after-ms": {
        "description": "The same in milliseconds, for SDKs.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "RateLimit": {"description": "What the key may still ask, where a rate is set.", "schema": {"type": "string"}},
    "RateLimit-Policy": {"description": "How often a key may ask, where a rate is set.", "schema": {"type": "string"}},
    "taskrelay-replayed": {
        "description": "It was done before, and this is what was answered then: found by its `key`, or as an SDK's `retry`.",
        "schema": {"enum": ["key", "retry"]},
    },
    "taskrelay-kept-until": {"description": "Until when a repeat is answered with this.", "schema": {"type": "string"}},
    "Preference-Applied": {"description": "The preference that was followed.", "schema": {"type": "string"}},
    "Referrer-Policy": {
        "description": "The provider is not told where the link was.",
        "schema": {"const": "no-referrer"},
    },
    "WWW-Authenticate": {"description": "How to identify.", "schema": {"const": "Bearer"}},
    "x-should-retry": {
        "description": "`false`: the same request meets the same answer again.",
        "schema": {"enum": ["true", "false"]},
    },
}
REPEAT: Final = header(
    "Idempotency-Key",
    "A name of your own for this request: asked again, it is answered with what was answered before, and nothing is done twice.",
    {
        "type": "string",
        "pattern": r'^(?:"(?:[ !#-\[\]-~]|\\["\\]){1,255}"|[!#-+\--~]{1,255})$',
        "examples": ['"order-8841"'],
    },
)
HEAD: Final = "BareProblem.head_too_large"
Row = tuple[str, str, Sequence[str]]  # method, path, scopes of which one is needed; none: no key


def document(rows: Iterable[Row], base: str) -> dict[str, Any]:
    """OpenAPI 3.1 of these routes. `base`: what links begin with; empty where nobody said, then links are relative."""
    paths: dict[str, dict[str, Any]] = {}
    used: dict[str, tuple[list[str], str]] = {}
    for method, path, scopes in rows:
        operation = OPERATIONS.get((method, path))
        if operation is not None:  # of another dialect
            paths.setdefault(path, {})[method.lower()] = _operation(method, operation, scopes, used)
    _link(paths)
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": DIALECT,
        "info": {
            "title": "taskrelay",
            "version": __version__,
            "summary": "Buys generation tasks once, learns how they end, tells every subscriber.",
            "description": f"{ABOUT}\n\n[What each code means]({base}/docs/problems)",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base or "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(one.tag for one in OPERATIONS.values())]
        + [{"name": "Webhooks"}],
        "paths": paths,
        "webhooks": {type.value: webhooks.webhook(type, base) for type in CATALOGUE},
        "components": {
            "schemas": dict(SCHEMAS),
            "responses": {
                HEAD: errors.HEAD_TOO_LARGE,
                **{name: errors.response(*of) for name, of in sorted(used.items())},
            },
            "examples": {
                f"{shape}.{code}": {"summary": CODES[code].title, "value": errors.example(code, shape, base)}
                for codes, shape in used.values()
                for code in codes
            },
            "headers": dict(HEADERS),
            "securitySchemes": {"key": KEY},
        },
    }


KEY: Final[Schema] = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "trk_…",
    "description": f"An API key. Its scopes are of {', '.join(SCOPES)}; one of those that an operation names is enough, "
    "and `admin` may do everything.",
}


def _operation(
    method: str, operation: Operation, scopes: Sequence[str], used: dict[str, tuple[list[str], str]]
) -> dict[str, Any]:
    keyed = bool(scopes)
    scoped = keyed and not set(SCOPES) - {"admin"} <= set(scopes)
    repeatable = keyed and method == "POST"
    codes = errors.by_status(errors.codes_of(operation, keyed=keyed, scoped=scoped, repeatable=repeatable))
    names = {status: errors.name_of(of, operation.problem) for status, of in codes.items()}
    used.update({names[status]: (of, operation.problem) for status, of in codes.items()})
    answers = {status: _answer(answer, keyed, repeatable) for status, answer in operation.answers.items()}
    answers |= {status: {"$ref": f"#/components/responses/{name}"} for status, name in {**names, 431: HEAD}.items()}
    parameters = [*operation.parameters, *((REPEAT,) if repeatable else ())]
    written: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.about,
        "parameters": parameters,
        "requestBody": _body(operation.body) if operation.body is not None else None,
        # OpenAPI lets a role stand here whatever the kind of key: any one of these is enough.
        "security": [{"key": [scope]} for scope in dict.fromkeys((*scopes, "admin"))] if keyed else [],
        "responses": {str(status): answers[status] for status in sorted(answers)},
    }
    return {name: value for name, value in written.items() if value or name == "security"}


def _link(paths: Mapping[str, dict[str, Any]]) -> None:
    """Say of what a POST creates which operations take its id."""
    for path, methods in paths.items():
        below = [one for other, those in paths.items() if other.startswith(f"{path}/{{id}}") for one in those.values()]
        for status in ("201", "202"):
            if below and status in methods.get("post", {"responses": {}})["responses"]:
                methods["post"]["responses"][status]["links"] = {
                    one["operationId"]: {"operationId": one["operationId"], "parameters": {"id": "$response.body#/id"}}
                    for one in below
                }


def _body(body: Body) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": body.schema}
    if body.examples:
        content["examples"] = {name: {"value": value} for name, value in body.examples.items()}
    return {"required": body.required, "content": {body.media_type: content}}


def _answer(answer: Answer, keyed: bool, repeatable: bool) -> dict[str, Any]:
    often = ("RateLimit", "RateLimit-Policy") if keyed else ()
    again = ("taskrelay-replayed", "taskrelay-kept-until") if repeatable else ()
    paged = ("Link",) if "has_more" in (answer.schema or {}).get("properties", {}) else ()
    headers: dict[str, Any] = {
        name: {"$ref": f"#/components/headers/{name}"}
        for name in ("X-Request-Id", *often, *again, *paged, *answer.maybe)
    }
    headers |= {name: {**HEADERS[name], "required": True} for name in answer.headers}
    written: dict[str, Any] = {"description": answer.about, "headers": headers}
    if answer.schema is not None:
        written["content"] = {answer.media_type: {"schema": answer.schema}}
    return written
