"""The dependency rule and what belongs to it, read off the source. The tables are the documentation.

Imports go down only: cli → bootstrap → runtime, api, compat, dashboard → pipeline → net → providers → core →
storage.records; settings and telemetry are leaves, and nothing of storage imports anything of service.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Importer → what it may import of ours, itself included. The row with the longest matching name counts.
MAY_IMPORT: Mapping[str, set[str]] = {
    "storage": {"storage"},
    "storage.records": set(),  # nouns, for everybody
    "storage.errors": set(),
    "storage.dialect": {"storage.errors"},
    "service.core": {"service.core", "storage.records"},
    "service.providers": {"service.providers", "service.core", "storage.records"},
    "service.net": {"service.net", "service.providers.base", "service.core", "service.telemetry"},
    "service.pipeline": {
        "service.pipeline", "service.net", "service.providers", "service.core", "service.telemetry", "storage",
    },
    "service.api": {
        "service.api", "service.pipeline", "service.net", "service.providers", "service.core", "service.telemetry", "storage",
    },
    "service.compat": {
        "service.compat", "service.api", "service.pipeline", "service.providers", "service.core", "service.telemetry", "storage",
    },
    "service.dashboard": {"service.dashboard", "service.api", "service.core", "service.telemetry"},  # a client of the API
    "service.runtime": {"service.telemetry"},  # it is handed its loops
    # A server that plays the providers: with our own adapters it would share our mistakes.
    "service.sandbox": {"service.sandbox", "service.telemetry"},
    "service.settings": {"service.settings"},
    "service.telemetry": {"service.telemetry"},
    "service.bootstrap": {
        "service.bootstrap", "service.api", "service.compat", "service.dashboard", "service.runtime", "service.pipeline", "service.net",
        "service.providers", "service.core", "service.settings", "service.telemetry", "storage",
    },
    "service.cli": {
        "service.cli", "service.bootstrap", "service.runtime", "service.sandbox", "service.settings", "service.telemetry",
        "service.core", "storage",
    },
    "service.__main__": {"service.cli"},
    "service": set(),
}  # fmt: skip

# What only these may import.
ONLY: Mapping[str, set[str]] = {
    "sqlite3": {"storage"},
    "aiosqlite": {"storage"},
    "asyncpg": {"storage"},
    "storage.sqlite": {"storage.database"},  # `open_database` chooses
    "storage.postgres": {"storage.database"},
    "httpx": {"service.net", "service.cli", "service.sandbox"},
    "httpcore": {"service.net"},
    "aiohttp": {"service.net", "service.cli", "service.sandbox"},
    "typer": {"service.cli"},
    "rich": {"service.cli"},
    "pydantic_settings": {"service.settings"},
    "standardwebhooks": {"service.sandbox", "service.cli"},  # the independent opinion on our signatures
}

PURE = ("service.core", "service.providers")
IMPURE_MODULES = {
    "asyncio", "concurrent", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "select", "shutil",
    "signal", "socket", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "uuid", "service.telemetry",
}  # fmt: skip
IMPURE_CALLS = {"now", "utcnow", "today", "urandom", "generate", "generate_key", "get_timestamp"}
IMPURE_BUILTINS = {"open", "print", "input", "eval", "exec"}
IMPURE_CLASSES = {"TimedSerializer", "URLSafeTimedSerializer", "TimestampSigner"}  # they look at the clock themselves
ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
BANNED_NAMES = {
    "manager",
    "handler",
    "helper",
    "helpers",
    "util",
    "utils",
    "common",
    "misc",
    "process",
    "data",
    "info",
    "job",
}

# Sources that only declare: there is nothing in them that could be wrong by itself.
DECLARATIONS = {"storage.records", "storage.errors", "service.bootstrap.errors", "service.__main__"}


def within(name: str, prefixes: set[str] | tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


@cache
def sources() -> dict[str, Path]:
    """Every module of ours by its dotted name."""
    files = [path for top in ("service", "storage") for path in sorted((ROOT / top).rglob("*.py"))]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


def imports(tree: ast.AST, known: set[str]) -> Iterator[tuple[int, str]]:
    """Line and full name of each import, also those inside functions and under TYPE_CHECKING."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = "." * node.level + (node.module or "")
            for alias in node.names:
                inner = f"{package}.{alias.name}"
                yield node.lineno, inner if inner in known else package


@cache
def adapters() -> set[str]:
    """The provider files: what the registry names, apart from the shared vocabulary."""
    known = sources()
    if "service.providers.registry" not in known:
        return set()
    tree = ast.parse(known["service.providers.registry"].read_text(encoding="utf-8"))
    named = {name for _, name in imports(tree, set(known)) if name.startswith("service.providers.")}
    return named - {"service.providers.base"}


def faults(module: str, text: str) -> list[str]:
    """Everything in this source that the rules forbid."""
    tree, known = ast.parse(text), set(sources())
    found = [fault for line, name in imports(tree, known) for fault in import_faults(module, line, name)]
    found += [f"{module}:{line}: {what} belongs to service.settings" for line, what in environment(module, tree)]
    if within(module, PURE):
        found += [f"{module}:{line}: {what} has no place in the pure parts" for line, what in impurities(tree)]
    return found


def import_faults(module: str, line: int, name: str) -> Iterator[str]:
    if name.startswith("."):
        yield f"{module}:{line}: relative import"
    if within(name, ("service", "storage")) and name != "service":  # `service` itself holds only the version
        row = max((row for row in MAY_IMPORT if within(module, (row,))), key=len)
        if row == "service" != module:
            yield f"{module}:{line}: no row of the table speaks of {module}"
        elif not within(name, MAY_IMPORT[row]):
            yield f"{module}:{line}: may not import {name}"
    for guarded, importers in ONLY.items():
        if within(name, (guarded,)) and not within(module, importers):
            yield f"{module}:{line}: {guarded} is only for {', '.join(sorted(importers))}"
    if name in adapters() and module != "service.providers.registry":
        yield f"{module}:{line}: {name} is known to the registry alone"


def environment(module: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    if within(module, ("service.settings",)):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ENVIRONMENT and isinstance(node.value, ast.Name):
            yield node.lineno, f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            yield from ((node.lineno, f"os.{alias.name}") for alias in node.names if alias.name in ENVIRONMENT)


def impurities(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for line, name in imports(tree, set()):
        if within(name, tuple(IMPURE_MODULES)):
            yield line, name
    for node in ast.walk(tree):
        match node:
            case ast.AsyncFunctionDef() | ast.Await() | ast.AsyncFor() | ast.AsyncWith():
                yield node.lineno, "async"
            case ast.Call(func=ast.Attribute(attr=name)) if name in IMPURE_CALLS:
                yield node.lineno, f"{name}()"
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_BUILTINS | IMPURE_CLASSES:
                yield node.lineno, f"{name}()"
            case ast.Attribute(attr=name) if name in IMPURE_CLASSES:
                yield node.lineno, name
            case _:
                pass


def is_glue(path: Path) -> bool:
    """A package's front door: a docstring, imports, constants."""
    plain = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
    body = ast.parse(path.read_text(encoding="utf-8")).body
    docstring = body[:1] if body and isinstance(body[0], ast.Expr) else []
    return path.name == "__init__.py" and all(isinstance(node, plain) for node in body[len(docstring) :])


def mirror(path: Path) -> Path:
    """Where the test of this source stands: service/net/guard.py ↔ tests/service/net/test_guard.py."""
    inside = path.relative_to(ROOT)
    name = f"{inside.parent.name}_init" if path.name == "__init__.py" else path.stem.strip("_")
    return ROOT / "tests" / inside.parent / f"test_{name}.py"


@pytest.mark.parametrize("module", sorted(sources()))
def test_every_source_keeps_the_rules(module: str) -> None:
    assert faults(module, sources()[module].read_text(encoding="utf-8")) == []


WRONG = {
    "the reducer asks the database": ("service.core.lifecycle", "from storage import tasks"),
    "the reducer knows the flow": ("service.core.lifecycle", "import service.pipeline.record"),
    "the reducer looks at the clock": ("service.core.lifecycle", "from datetime import datetime\ndatetime.now()"),
    "the reducer imports a clock": ("service.core.lifecycle", "import time"),
    "the schedule throws dice": ("service.core.schedule", "from random import random"),
    "an id is made of thin air": ("service.core.ids", "import uuid"),
    "a token looks at the clock": ("service.core.tokens", "import itsdangerous\nitsdangerous.URLSafeTimedSerializer('k')"),
    "the core waits": ("service.core.delivery", "async def send(): ..."),
    "the core logs": ("service.core.delivery", "import logging"),
    "the core reads the environment": ("service.core.keys", "from os import environ"),
    "a provider dials": ("service.providers.cloudsway", "import httpx"),
    "a provider sleeps": ("service.providers.cloudsway", "import asyncio"),
    "a provider reads a file": ("service.providers.cloudsway", "def f():\n    return open('x')"),
    "a provider knows the flow": ("service.providers.cloudsway", "from service.pipeline import record"),
    "a provider knows another": ("service.providers.ulazai", "from service.providers import cloudsway"),
    "the net knows a provider": ("service.net.client", "from service.providers.registry import PROVIDERS"),
    "the net writes": ("service.net.sender", "from storage import outbox"),
    "the flow dials by itself": ("service.pipeline.relay", "import aiohttp"),
    "the flow speaks to a driver": ("service.pipeline.record", "def f():\n    import sqlite3"),
    "the flow chooses an engine": ("service.pipeline.record", "from storage.sqlite import SQLiteDatabase"),
    "the flow reads settings": ("service.pipeline.poll", "from service.settings import load"),
    "the flow reads the environment": ("service.pipeline.poll", "import os\nos.environ['X']"),
    "the flow calls up": ("service.pipeline.poll", "from service.api import problems"),
    "the API dials": ("service.api.tasks", "import httpx"),
    "the runtime knows its loops": ("service.runtime", "from service.pipeline import relay"),
    "the sandbox borrows an adapter": ("service.sandbox.app", "from service.providers.cloudsway import Cloudsway"),
    "the sandbox borrows our rules": ("service.sandbox.app", "from service.core import signature"),
    "the sandbox remembers as we do": ("service.sandbox.app", "from storage.records import Task"),
    "storage knows the service": ("storage.tasks", "from service.core.money import Money"),
    "storage knows the version": ("storage.migrate", "import service.settings"),
    "records know their tables": ("storage.records", "from storage import tasks"),
    "settings know a provider": ("service.settings.model", "from service.providers.registry import PROVIDERS"),
    "a log line knows a task": ("service.telemetry.log", "from storage.records import Task"),
    "bootstrap knows the command": ("service.bootstrap", "from service.cli import main"),
    "a part without a row": ("service.elsewhere", "from service.core import money"),
    "a relative import": ("service.api.tasks", "from . import problems"),
    "an import for types only": ("service.core.money", "if TYPE_CHECKING:\n    from storage.tasks import lock"),
}  # fmt: skip


@pytest.mark.parametrize(("module", "text"), WRONG.values(), ids=WRONG)
def test_a_wrong_source_is_refused(module: str, text: str) -> None:
    assert faults(module, text)


RIGHT = {
    "the reducer knows the nouns": ("service.core.lifecycle", "from storage.records import Task"),
    "the reducer is told the time": ("service.core.lifecycle", "def advance(now: int) -> int:\n    return now"),
    "a provider knows its base": ("service.providers.cloudsway", "from service.providers.base import Ask"),
    "the registry knows providers": ("service.providers.registry", "from service.providers.cloudsway import Cloudsway"),
    "the flow uses storage": ("service.pipeline.record", "from storage import outbox, tasks"),
    "the opener chooses an engine": ("storage.database", "from storage.sqlite import SQLiteDatabase"),
    "bootstrap reads settings": ("service.bootstrap", "from service.settings import load"),
    "the net dials": ("service.net.sender", "import aiohttp"),
    "anybody knows the version": ("service.api.app", "from service import __version__"),
    "settings read the environment": ("service.settings.source", "import os\nos.environ"),
}  # fmt: skip


@pytest.mark.parametrize(("module", "text"), RIGHT.values(), ids=RIGHT)
def test_a_right_source_is_let_through(module: str, text: str) -> None:
    assert faults(module, text) == []


def test_no_row_of_the_tables_speaks_of_nothing() -> None:
    """Rows for parts that are still to come are named here, so that a typing error in the table is not one of them."""
    to_come = {"service.dashboard", "service.__main__", "storage.postgres"}
    packages = {module.rpartition(".")[0] for module in sources()} | set(sources())
    rows = (
        set(MAY_IMPORT)
        | {name for names in MAY_IMPORT.values() for name in names}
        | {n for v in ONLY.values() for n in v}
    )
    assert rows - packages - to_come == set()


def test_every_source_has_its_test() -> None:
    missing = [
        f"{path.relative_to(ROOT)} has no {mirror(path).relative_to(ROOT)}"
        for module, path in sources().items()
        if module not in DECLARATIONS and not is_glue(path) and not mirror(path).exists()
    ]
    assert missing == []


def test_nothing_is_excused_from_a_test_that_it_has() -> None:
    known = sources()
    assert [module for module in sorted(DECLARATIONS & set(known)) if mirror(known[module]).exists()] == []


def test_every_folder_of_tests_is_a_package() -> None:
    """Otherwise pytest imports tests/service as `service` and hides the real one."""
    folders = {path.parent for path in (ROOT / "tests").rglob("*.py")}
    folders |= {above for folder in folders for above in folder.parents if above.is_relative_to(ROOT / "tests")}
    assert [str(folder.relative_to(ROOT)) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [module for module in sources() if BANNED_NAMES & set(module.replace("_", ".").split("."))] == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [m for m, path in sources().items() if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert silent == []
