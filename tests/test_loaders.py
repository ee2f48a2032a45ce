"""Text from outside is read by the few functions that bound it. Whoever reads JSON, forms or bytes elsewhere says here what they are.

`make check` cannot know where bytes came from; this table does. A new line in it is a statement: either the text is our own, which storage
or this process wrote, or the reader bounds it and turns every failure into an answer.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache

from tests.test_architecture import sources, within

# The doors: strict for clients, lenient for providers, both bounded in depth and values, both failing in one class.
DOORS = {
    "service.core.json_text": "clients: UTF-8, depth, values, integers, no NaN, no name twice",
    "service.providers.base": "providers: replies, pushes, look-ups; huge numbers as text, a name twice with two values proves nothing",
    "service.api.query": "query strings and cursors: 60 parameters, 500 characters, UTF-8",
    "service.settings.source": "the operator's own files",
    "storage.connecting": "the operator's own URL, which the driver reads in the same way",
    "service.core.bodies": "`verify`: a body that its owner holds against a signature, on their own machine",
}

# Readers of what we wrote ourselves: columns of the database, bodies of our events, replies of our own API to our own command.
OURS = {
    "service.core.budget", "service.core.care",
    "service.core.erasing", "service.core.fallback", "service.core.filters", "service.core.formats",
    "service.core.health", "service.core.history", "service.core.holding", "service.core.observation", "service.core.schedule",
    "service.core.usage",
    "service.providers.acedata", "service.providers.apiinone", "service.providers.cloudsway", "service.providers.ulazai",
    "service.pipeline.audit_deliveries", "service.pipeline.audit_jobs", "service.pipeline.clues", "service.pipeline.durations",
    "service.pipeline.orders", "service.pipeline.questions", "service.pipeline.redelivery", "service.pipeline.replay",
    "service.pipeline.probe.facts", "service.pipeline.probe.samples",
    "service.api.endpoints", "service.api.once", "service.api.openapi.webhooks", "service.api.story",
    "service.compat.openai.views",
    "storage.moving.target", "storage.tasks", "storage.wakeups",
}  # fmt: skip
COMMAND = "service.cli"  # another process: it reads what our own API and its own children say
SANDBOX = "service.sandbox"  # plays the providers, by its own rules, in another process

LOADERS = {"loads", "load", "raw_decode", "JSONDecoder", "parse_qs", "parse_qsl", "literal_eval", "safe_load", "Loader"}
MODULES = {"json", "orjson", "pickle", "marshal", "shelve", "yaml", "ast", "urllib.parse", "tomllib", "plistlib", "xml"}
NEVER = {"pickle", "marshal", "shelve", "yaml", "plistlib", "xml", "ast"}


def loaders(tree: ast.AST) -> Iterator[str]:
    """What in this source reads text into values."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=module), attr=name) if module in MODULES and name in LOADERS:
                yield f"{module}.{name}"
            case ast.ImportFrom(module=str(module), names=names) if module in MODULES:
                yield from (f"{module}.{one.name}" for one in names if one.name in LOADERS)
            case ast.Attribute(value=ast.Name(id="request"), attr="json" | "form" | "body" as name):
                yield f"request.{name}"  # Starlette's: no bound, and RecursionError is a 500
            case ast.Attribute(value=ast.Attribute(attr="request"), attr="json" | "form" | "body" as name):
                yield f"request.{name}"
            case ast.Import(names=names):
                yield from (f"import {one.name}" for one in names if within(one.name, tuple(NEVER)))
            case _:
                pass


@cache
def found() -> dict[str, Counter[str]]:
    trees = {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in sources().items()}
    return {module: Counter(names) for module, tree in trees.items() if (names := list(loaders(tree)))}


def test_outside_text_is_read_by_the_bounded_readers_alone() -> None:
    known = set(DOORS) | OURS
    strange = {
        module: dict(names)
        for module, names in found().items()
        if module not in known and not within(module, (SANDBOX, COMMAND, "storage.reaching"))
    }
    assert strange == {}


def test_no_route_reads_a_body_by_another_way() -> None:
    """Routes may read columns of ours; the bytes of a request only through `service.api.intake`."""
    wrong = {
        module: dict(names)
        for module, names in found().items()
        if within(module, ("service",)) and any(name.startswith(("request.", "import ")) for name in names)
    }
    assert wrong == {}


def test_bodies_are_taken_from_the_connection_in_one_place() -> None:
    takers = set()
    for module, path in sources().items():
        if within(module, ("service.api", "service.compat", "service.dashboard")):
            names = {
                node.attr
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.Attribute)
            }
            if "stream" in names:
                takers.add(module)
    assert takers - {"service.api.app"} == {"service.api.intake"}  # `app` names the stream of events


def test_the_table_names_nobody_who_reads_nothing() -> None:
    assert (set(DOORS) | OURS) - set(found()) == set()


def test_a_reader_is_seen() -> None:
    for text in (
        "import orjson\norjson.loads(b'')",
        "from json import loads",
        "from urllib.parse import parse_qs",
        "async def f(request):\n    await request.json()",
        "async def f(call):\n    await call.request.form()",
        "import pickle",
    ):
        assert list(loaders(ast.parse(text))), text
    assert not list(loaders(ast.parse("import json\njson.dumps({})")))
