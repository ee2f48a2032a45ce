"""Problems in the document: one shape, and for each operation the codes it may answer, by status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from service.api.openapi.tenants import STANDING
from service.api.openapi.words import NOBODY, Operation, Schema, id_of, one_of, ref
from service.api.problems import CODES
from service.core.event_schema import many, maybe, text, thing, whole

PROBLEM_JSON: Final = "application/problem+json"
EARLY: Final = frozenset({"malformed_request", "too_slow", "too_many_connections", "unavailable"})
ANY: Final = (*sorted(EARLY), "internal")
KEYED: Final = ("unauthorized", "invalid", "rate_limited", "too_many_wrong_keys")
REPEATABLE: Final = ("malformed_idempotency_key", "idempotency_key_in_use", "idempotency_key_reused")
WITH_BODY: Final = ("too_large", "unsupported_media_type")
MALFORMED: Final = {"application/json": ("malformed_json",), "multipart/form-data": ("malformed_form",)}
RATE: Final = {name: {"$ref": f"#/components/headers/{name}"} for name in ("RateLimit", "RateLimit-Policy")}
COMES_BACK: Final = frozenset({429, 503})  # these say when to come back

PROBLEM: Final[Schema] = {
    **thing(
        "What went wrong, as RFC 9457 has it, with an `error` member beside it for the SDKs of OpenAI. Switch on `code`.",
        {
            "type": text("A link to what the code means and what to do."),
            "title": text("The kind of problem, for people."),
            "status": whole("The HTTP status."),
            "detail": text("What is wrong in this case and what to do."),
            "code": one_of("What to switch on.", CODES),
            "errors": many(
                "Every fault of the request.",
                thing(
                    "One of them.",
                    {
                        "pointer": text("JSON pointer into the body (RFC 6901); of a parameter `/` and its name."),
                        "detail": text("What is wrong there."),
                    },
                ),
            ),
            "request_id": id_of("req", "Finds the request in the log. Equal to the header X-Request-Id."),
            "error": thing(
                "The same in OpenAI's shape.",
                {
                    "message": text("As `detail`."),
                    "type": one_of("In OpenAI's words.", sorted({kind.type for kind in CODES.values()})),
                    "param": maybe(text("The first fault's place.")),
                    "code": text("As `code`."),
                },
            ),
            "existing": id_of("task", "Of `reference_taken` and `answer_erased`: the task it is about."),
            "links": thing("Of the same.", {"existing": text("That task's address.")}),
            "next": text("Of `events_gone`: where what is left of the feed begins."),
            "budget": STANDING,
            "max_open_tasks": maybe(
                whole("Of `budget_exhausted` and `too_many_open_tasks`: what the project may have.")
            ),
        },
        needless=("existing", "links", "next", "budget", "max_open_tasks"),
    ),
    "additionalProperties": True,
}
BARE: Final = ("type", "title", "status", "detail", "code")
SCHEMAS: Final[Mapping[str, Schema]] = {
    "Problem": PROBLEM,
    "BareProblem": thing(
        "What went wrong, told to a provider that pushes.", {name: PROBLEM["properties"][name] for name in BARE}
    ),
}


def codes_of(operation: Operation, *, keyed: bool, scoped: bool, repeatable: bool) -> list[str]:
    """Every code that the operation may answer. `scoped`: a key may lack what it takes. `repeatable`: it heeds Idempotency-Key."""
    found = [*operation.codes, *ANY, *(KEYED if keyed else ()), *(("missing_scope",) if scoped else ())]
    found += REPEATABLE if repeatable else ()
    if operation.body is not None:
        found += [*WITH_BODY, *MALFORMED.get(operation.body.media_type, ())]
    return [code for code in CODES if code in found]


def by_status(codes: Iterable[str]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for code in codes:
        found.setdefault(CODES[code].status, []).append(code)
    return found


def name_of(codes: Iterable[str], shape: str) -> str:
    """What an answer with one of these codes is called among the components."""
    return f"{shape}.{'_or_'.join(codes)}"


def response(codes: list[str], shape: str) -> Schema:
    """The answer of one status, with an example of each code that has it."""
    status = CODES[codes[0]].status
    headers = {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}
    if status in COMES_BACK or "idempotency_key_in_use" in codes:
        headers["Retry-After"] = {"$ref": "#/components/headers/Retry-After"}
    if any(CODES[code].lasting for code in codes):
        headers["x-should-retry"] = {"$ref": "#/components/headers/x-should-retry"}
    if not {"rate_limited", "idempotency_key_in_use"}.isdisjoint(codes):
        headers["retry-after-ms"] = {"$ref": "#/components/headers/retry-after-ms"}
    if status != 401:
        headers |= RATE
    if status == 401:
        headers["WWW-Authenticate"] = {"$ref": "#/components/headers/WWW-Authenticate"}
    # What the server says before a route is found has no request id.
    early = shape == "Problem" and not EARLY.isdisjoint(codes)
    either = {"anyOf": [ref(shape), ref("BareProblem")]} if early else ref(shape)
    narrowed = {**either, "properties": {"code": {"enum": codes}, "status": {"const": status}}}
    return {
        "description": " ".join(f"`{code}`: {CODES[code].title}." for code in codes),
        "headers": headers,
        "content": {
            PROBLEM_JSON: {
                "schema": narrowed,
                "examples": {code: {"$ref": f"#/components/examples/{shape}.{code}"} for code in codes},
            }
        },
    }


HEAD_TOO_LARGE: Final[Schema] = {
    "description": "`too_large`: more than 100 headers, or more than 16 KiB before the body.",
    "content": {
        PROBLEM_JSON: {
            "schema": {**ref("BareProblem"), "properties": {"code": {"const": "too_large"}, "status": {"const": 431}}}
        }
    },
}


def example(code: str, shape: str, base: str) -> Schema:
    """A problem with this code."""
    whole = _example(code, base)
    return {name: whole[name] for name in BARE} if shape == "BareProblem" else whole


def _example(code: str, base: str) -> Schema:
    kind = CODES[code]
    detail = f"{kind.title}."
    body: Schema = {
        "type": f"{base}/docs/problems#{code}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "code": code,
        "errors": [],
        "request_id": f"req_{NOBODY}",
        "error": {"message": detail, "type": kind.type, "param": None, "code": code},
    }
    match code:
        case "invalid":
            fault = {
                "pointer": "/input/duration",
                "detail": "cloudsway/kling-3.0-turbo makes 3 to 15 seconds, not 16.",
            }
            told = f"{fault['pointer']} {fault['detail']}"
            error = {**body["error"], "message": told, "param": "input.duration"}
            return {**body, "detail": told, "errors": [fault], "error": error}
        case "reference_taken" | "answer_erased":
            task = f"task_{NOBODY}"
            return {**body, "existing": task, "links": {"existing": f"{base}/v1/tasks/{task}"}}
        case "events_gone":
            return {**body, "next": "YXQgMTI"}
        case _:
            return body
