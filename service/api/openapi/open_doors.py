"""What needs no key, in the document: outputs, pushes of providers, health, and this document itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from service.api.openapi.words import Answer, Body, Operation, Operations, Schema, constant, free, in_path, one_of, ref
from service.core.event_schema import many, text, thing
from service.providers.registry import PROVIDERS

TAG: Final = "Without a key"
HTML: Final = "text/html"
SCHEMAS: Final[Mapping[str, Schema]] = {
    "Alive": thing("It answers.", {"status": constant("ok")}),
    "Ready": thing(
        "It can be written.",
        {"status": constant("ok"), "warnings": many("What to look after.", text("In words."))},
        needless=("warnings",),
    ),
    "Root": thing(
        "Who answers.",
        {
            "name": constant("taskrelay"),
            "version": text("The release."),
            "api": text("Where the API begins."),
            "problems": text("What errors mean."),
            "openapi": text("This document."),
            "docs": text("This document, to read."),
        },
        needless=("openapi", "docs"),
    ),
}
_TOKEN: Final[Schema] = {"type": "string", "minLength": 1}

OPERATIONS: Final[Operations] = {
    ("GET", "/o/{token}"): Operation(
        id="followOutput",
        tag=TAG,
        summary="To the output",
        about="The `output_url` of a task: needs no key, and outlives the provider's own links. "
        "A link that has expired is renewed first, which may take up to 10 seconds.",
        parameters=(in_path("token", {**_TOKEN, "description": "From `output_url`."}),),
        answers={302: Answer(about="To the file at its provider.", headers=("Location", "Referrer-Policy"))},
        codes=("not_found", "output_gone", "output_unavailable"),
    ),
    ("POST", "/callbacks/{provider}/{token}"): Operation(
        id="pushCallback",
        tag=TAG,
        summary="Where providers push",
        about="The URL goes out with each submission and is good for that one alone. By default a push makes us ask the "
        "provider and decides nothing by itself.",
        parameters=(
            in_path("provider", one_of("Who pushes.", PROVIDERS)),
            in_path("token", {**_TOKEN, "description": "From the submission."}),
        ),
        body=Body(
            schema={"description": "Whatever the provider sends, kept byte by byte."}, media_type="*/*", required=False
        ),
        answers={
            200: Answer(about="It is on disk.", schema=free("Nothing.")),
            202: Answer(about="It is on disk, and its task is gone.", schema=free("Nothing.")),
        },
        codes=("not_found",),
        problem="BareProblem",
    ),
    ("GET", "/livez"): Operation(
        id="live",
        tag=TAG,
        summary="The process answers",
        answers={200: Answer(about="It does.", schema=ref("Alive"))},
    ),
    ("GET", "/readyz"): Operation(
        id="ready",
        tag=TAG,
        summary="The database can be written",
        about="For load balancers.",
        answers={200: Answer(about="It was, within the last second.", schema=ref("Ready"))},
    ),
    ("GET", "/metrics"): Operation(
        id="getMetrics",
        tag=TAG,
        summary="How this replica does, for Prometheus",
        about="Takes an admin's key, or the token of `METRICS_TOKEN`.",
        answers={200: Answer(about="In the text format.", schema={"type": "string"}, media_type="text/plain")},
        scopes=("admin",),
    ),
    ("GET", "/"): Operation(
        id="root", tag=TAG, summary="Name and version", answers={200: Answer(about="Who answers.", schema=ref("Root"))}
    ),
    ("GET", "/docs/problems"): Operation(
        id="listProblems",
        tag=TAG,
        summary="Where the type of an error leads",
        answers={200: Answer(about="Every code.", schema={"type": "string"}, media_type=HTML)},
    ),
    ("GET", "/openapi.json"): Operation(
        id="getDocument",
        tag=TAG,
        summary="This document",
        answers={
            200: Answer(about="OpenAPI 3.1.", schema=free("The document."), headers=("ETag",)),
            304: Answer(about="It is the one you have.", headers=("ETag",)),
        },
    ),
    ("GET", "/docs"): Operation(
        id="readDocument",
        tag=TAG,
        summary="This document, to read and to try",
        answers={200: Answer(about="A page.", schema={"type": "string"}, media_type=HTML)},
    ),
    ("GET", "/docs/assets/{name}"): Operation(
        id="getAsset",
        tag=TAG,
        summary="What that page is made of",
        parameters=(in_path("name", {"type": "string", "minLength": 1, "description": "A file's name."}),),
        answers={200: Answer(about="The file.", media_type="*/*", schema={})},
        codes=("not_found",),
    ),
}
