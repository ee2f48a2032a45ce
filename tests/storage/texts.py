"""Every statement of the package by its name, found and not listed: a new one is checked without anybody remembering it."""

from __future__ import annotations

import importlib
import pkgutil

import storage

FIRST_WORDS = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")
ENGINES = {  # they speak to one database only
    "storage.sqlite", "storage.postgres", "storage.migrate", "storage.positions", "storage.inspection_postgres", "storage.listening",
}  # fmt: skip


def statements() -> dict[str, str]:
    """`tasks.SAVE` → its text."""
    modules = [f"storage.{found.name}" for found in pkgutil.iter_modules(storage.__path__)]
    return {
        f"{module.removeprefix('storage.')}.{name}": text
        for module in modules
        if module not in ENGINES
        for name, text in vars(importlib.import_module(module)).items()
        if name.isupper() and isinstance(text, str) and text.lstrip().startswith(FIRST_WORDS)
    }
