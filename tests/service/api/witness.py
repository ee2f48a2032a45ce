"""Holds every answer that the API's tests get against the served document: route, status, code, headers, media type, body.

And what was taken against what the document says may be sent. Answers are open in the document, because members are added
inside /v1; here they are closed, so that a member nobody described is found.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

import httpx
import jsonschema_rs
import orjson

from service.api.app import OPEN_ROWS, ROUTES
from service.api.openapi.document import document

BASE = "https://relay.example.org"
DOCUMENT = "urn:openapi"
PLACE = re.compile(r"\{(\w+)\}")
TEXT = ("text/event-stream", "text/html", "text/plain", "*/*")


@cache
def described() -> dict[str, Any]:
    """The document, as clients get it."""
    rows = [*((method, path, scopes) for method, path, scopes, _ in ROUTES), *OPEN_ROWS]
    found: dict[str, Any] = orjson.loads(orjson.dumps(document(rows, BASE), option=orjson.OPT_NON_STR_KEYS))
    return found


@cache
def paths() -> list[tuple[re.Pattern[str], str]]:
    """Every path as what it matches; those without a placeholder first, as the router has them."""
    known = sorted(described()["paths"], key=lambda path: ("{" in path, path))
    return [(re.compile(PLACE.sub(r"[^/]+", path)), path) for path in known]


def closed(value: Any) -> Any:
    """The same schema without room for what it does not name."""
    if isinstance(value, list):
        return [closed(one) for one in value]
    if not isinstance(value, dict):
        return value
    shape = {name: closed(inner) for name, inner in value.items()}
    if shape.get("type") in ("object", ["object", "null"]) and "properties" in shape:
        shape.setdefault("additionalProperties", False)
    return shape


@cache
def registry(strict: bool) -> jsonschema_rs.Registry:
    """All components, read once for every schema that names one."""
    schemas = described()["components"]["schemas"]
    whole = {"components": {"schemas": closed(schemas) if strict else schemas}}
    return jsonschema_rs.Registry([(DOCUMENT, whole)], draft=jsonschema_rs.Draft202012)


@cache
def judge(text: bytes, strict: bool) -> Any:
    """A compiled validator of a schema that stands somewhere in the document."""
    schema = orjson.loads(text.replace(b'"#/components/', f'"{DOCUMENT}#/components/'.encode()))
    shape = closed(schema) if strict else schema
    return jsonschema_rs.Draft202012Validator(shape, validate_formats=True, registry=registry(strict))


def wrong(schema: Any, value: object, *, strict: bool) -> list[str]:
    """What the schema has against a value."""
    found = judge(orjson.dumps(schema, option=orjson.OPT_SORT_KEYS), strict).iter_errors(value)
    return [f"/{'/'.join(map(str, error.instance_path))}: {error.message[:300]}" for error in found]


def operation(method: str, path: str) -> tuple[str, dict[str, Any]] | None:
    """The operation that a request is one of; None where the document has none."""
    for form, template in paths():
        if form.fullmatch(path):
            methods = described()["paths"][template]
            known: dict[str, Any] | None = methods.get("get" if method == "HEAD" else method.lower())
            return (template, known) if known is not None else None
    return None


async def check(response: httpx.Response) -> None:
    """For a client's hooks. Of what the document does not have, `test_document` says so."""
    request = response.request
    path = request.url.raw_path.decode("ascii").partition("?")[0]
    found = operation(request.method, path)
    if found is None:
        return
    template, known = found
    if response.headers.get("content-type", "").startswith("text/event-stream"):
        return
    await response.aread()
    faults = answer_faults(known, response)
    if response.status_code < 400:
        faults += request_faults(known, request)
    assert not faults, f"{request.method} {template} {response.status_code}: {faults}"


def answer_faults(known: dict[str, Any], response: httpx.Response) -> list[str]:
    answer = known["responses"].get(str(response.status_code))
    if answer is None:
        return [f"undescribed status: {response.text[:300]}"]
    if "$ref" in answer:
        answer = described()["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    faults = []
    for name, header in answer.get("headers", {}).items():
        if header.get("required") and name not in response.headers:
            faults.append(f"no header {name}")
    stated = {name.lower() for name in answer.get("headers", {})} | UNSAID
    faults += [f"undescribed header {name}" for name in response.headers if name not in stated]
    if response.request.method == "HEAD":
        return faults
    content = answer.get("content", {})
    media_type = response.headers.get("content-type", "").partition(";")[0]
    if not content:
        return faults + ([f"a body: {response.text[:200]}"] if response.content else [])
    if media_type not in content and "*/*" not in content:
        return [*faults, f"undescribed media type {media_type}"]
    if media_type in content and media_type not in TEXT:
        strict = media_type != "application/problem+json"
        faults += wrong(content[media_type]["schema"], response.json(), strict=strict)
    return faults


# What says nothing about the answer itself, or is the frame's.
UNSAID = {
    "content-type",
    "content-length",
    "cache-control",
    "x-content-type-options",
    "content-security-policy",
    "allow",
    "connection",
    "date",
    "server",
    "x-accel-buffering",
    "cross-origin-opener-policy",
    "referrer-policy",
    "vary",
    "access-control-allow-origin",
    "access-control-expose-headers",
}


def request_faults(known: dict[str, Any], request: httpx.Request) -> list[str]:
    """What was taken although the document says it would not be."""
    faults = []
    parameters = {one["name"]: one for one in known.get("parameters", []) if one["in"] == "query"}
    for name, value in parse_qsl(request.url.query.decode("ascii"), keep_blank_values=True):
        if name.startswith("metadata."):
            continue
        if name not in parameters:
            faults.append(f"undescribed parameter {name}")
        else:
            faults += wrong(parameters[name]["schema"], parsed(parameters[name]["schema"], value), strict=False)
    content = known.get("requestBody", {}).get("content", {})
    if "application/json" in content and request.content:
        faults += [
            f"taken: {one}"
            for one in wrong(content["application/json"]["schema"], orjson.loads(request.content), strict=False)
        ]
    return faults


def parsed(schema: dict[str, Any], value: str) -> object:
    return int(value) if schema.get("type") == "integer" and value.isdecimal() else value
