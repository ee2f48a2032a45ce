"""Where settings come from: the environment over `taskrelay.toml`, secrets also from files, several values by comma.

One source does it for both, at any depth, and remembers which variable or key each value came from, so that every
mistake can be named where it was made. All mistakes are told at once, and no value is ever repeated.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from service.settings import shape
from service.settings.model import Settings

TOML = Path("taskrelay.toml")
FILE_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with the settings and the line that mends it. `note`: it runs, but the operator should know."""

    text: str
    fix: str
    note: bool = False


class SettingsError(Exception):
    """The settings cannot be used; `problems` names every mistake."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(f"{problem.text}\n    {problem.fix}" for problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Entry:
    """One value as given. `where`: the variable or the key in the file; `beside`: what a relative file name starts from."""

    where: str
    value: Any
    from_file: bool
    beside: Path


class Given(PydanticBaseSettingsSource):
    """Everything that was said, as one nested mapping; call it once and then read `problems` and `entries`."""

    def __init__(self, environ: Mapping[str, str], toml: Path | None) -> None:
        super().__init__(Settings)
        self.environ, self.toml = environ, toml
        self.problems: list[Problem] = []
        self.entries: dict[shape.Path, Entry] = {}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError("values are read for the whole model at once")

    def __call__(self) -> dict[str, Any]:
        self.entries = {**self._layer(self._file_entries()), **self._layer(self._environment_entries())}
        tree: dict[str, Any] = {}
        for path, entry in self.entries.items():
            value = self._resolve(path, entry)
            if value is not None:
                _put(tree, path, value)
        return tree

    def _environment_entries(self) -> Iterator[tuple[shape.Path, Entry]]:
        for name, value in self.environ.items():
            if meant := shape.path_of(name):
                yield meant[0], Entry(name, value, meant[1], Path())

    def _file_entries(self) -> Iterator[tuple[shape.Path, Entry]]:
        file = self.toml or TOML
        if self.toml is None and not file.exists():
            return
        try:
            content = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as fault:
            self._problem(f"{file} cannot be read: {fault.strerror}", f"ls -ld {file}")
        except UnicodeDecodeError:
            self._problem(f"{file} is not UTF-8 text", f"rewrite {file} as UTF-8")
        except tomllib.TOMLDecodeError as fault:
            place = re.search(r"line \d+", str(fault))
            self._problem(f"{file} is not valid TOML near {place[0] if place else 'its end'}", "see https://toml.io")
        else:
            yield from self._flat(content, (), file)

    def _flat(self, table: Mapping[str, Any], above: shape.Path, file: Path) -> Iterator[tuple[shape.Path, Entry]]:
        for key, value in table.items():
            path = (*above, key)
            meant = shape.path_of(shape.variable(path)) if key == key.lower() else None
            if meant:
                yield meant[0], Entry(f"{file}: {'.'.join(path)}", value, meant[1], file.parent)
            elif isinstance(value, dict) and _is_table(path):
                yield from self._flat(value, path, file)
            else:
                near = shape.nearest(shape.variable(path))
                self._problem(
                    f"{file}: {'.'.join(path)} is no setting",
                    f"the nearest is {_dotted(near)}" if near else f"remove it from {file}",
                )

    def _layer(self, entries: Iterator[tuple[shape.Path, Entry]]) -> dict[shape.Path, Entry]:
        layer: dict[shape.Path, Entry] = {}
        for path, entry in entries:
            if not (path in layer and layer[path].from_file != entry.from_file):
                layer[path] = entry
                continue
            self._problem(f"{layer[path].where} and {entry.where} set the same thing", "keep one of them")
        return layer

    def _resolve(self, path: shape.Path, entry: Entry) -> Any:
        leaf = shape.find(path)
        value = self._content(entry) if entry.from_file else entry.value
        if isinstance(value, str) and not value.strip():
            # Compose files pass unset variables on as empty ones; an empty list of keys, though, is never meant.
            if path == ("secret_keys",):
                self._problem(f"{entry.where} is empty", _line(path))
            return None
        if leaf and leaf.several and isinstance(value, str) and value.strip() != "*":
            return [item for item in re.split(r"[,\s]+", value) if item]
        return value.strip() if isinstance(value, str) else value

    def _content(self, entry: Entry) -> str | None:
        file = entry.beside / str(entry.value)
        try:
            with file.open("rb") as opened:
                content = opened.read(FILE_BYTES + 1)
            if len(content) > FILE_BYTES:
                self._problem(
                    f"{entry.where} names a file of more than {FILE_BYTES} bytes", "name the secret's own file"
                )
                return None
            text = content.decode()
        except OSError as fault:
            self._problem(f"{entry.where} names a file that cannot be read: {fault.strerror}", f"ls -l {file}")
        except (UnicodeDecodeError, ValueError):
            self._problem(f"{entry.where} names a file that is not text", "write raw bytes as base64:…")
        else:
            if text.strip():
                return text
            self._problem(f"{entry.where} names an empty file", f"ls -l {file}")
        return None

    def _problem(self, text: str, fix: str) -> None:
        self.problems.append(Problem(text, fix))


def environment() -> dict[str, str]:
    """A copy of this process's environment; nothing else in the project looks at it."""
    return dict(os.environ)


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was understood. `settings`: without what could not be used, `left_out`, so that the rest can still be judged."""

    settings: Settings | None
    problems: tuple[Problem, ...]
    left_out: frozenset[str]  # the first parts of their paths


def load(environ: Mapping[str, str] | None = None, toml: Path | None = None) -> Settings:
    """The settings in force. Raises `SettingsError` with every mistake at once.

    `toml`: a file that must exist; by default `taskrelay.toml` here, if there is one.
    """
    found = gather(environ, toml)
    if found.problems or found.settings is None:
        raise SettingsError(list(found.problems)) from None
    return found.settings


def gather(environ: Mapping[str, str] | None = None, toml: Path | None = None) -> Gathered:
    """The settings as far as they can be used, and every mistake: a rule about several is judged once each is sound by itself."""
    given = Given(environment() if environ is None else environ, toml)
    tree = given()
    found: list[Problem] = []
    left_out: set[str] = set()
    while True:
        try:
            settings = Settings(**tree)
        except ValidationError as error:
            faults = error.errors(include_url=False, include_context=False, include_input=False)
            found += [problem for fault in faults for problem in _told(fault, given) if problem not in found]
            culprits = {path for fault in faults for path in _culprits(fault, given)}
            left_out |= {path[0] for path in culprits}
            if sum(_remove(tree, path) for path in culprits) == 0:
                return Gathered(None, (*given.problems, *found), frozenset(left_out))
        else:
            return Gathered(settings, (*given.problems, *found), frozenset(left_out))


def _culprits(fault: Any, given: Given) -> list[shape.Path]:
    """What must go for the rest to be judged: the value at fault, else everything that the broken rule speaks of."""
    names = tuple(str(part) for part in fault["loc"])
    path = next((names[:n] for n in range(len(names), 0, -1) if names[:n] in given.entries), None)
    if path is not None:
        return [path]
    if names[:1] == ("accounts",):
        return [names[:2]]
    return [(name,) for name in Settings.model_fields if re.search(rf"\b{name.upper()}(__|\b)", str(fault["msg"]))]


def _remove(tree: dict[str, Any], path: shape.Path) -> bool:
    """Take a value out. False when it is not there."""
    for part in path[:-1]:
        tree = tree.get(part, {})
    return tree.pop(path[-1], None) is not None


def _told(fault: Any, given: Given) -> list[Problem]:
    """A validation fault in plain words, at the variable or key it was made."""
    location: tuple[str | int, ...] = fault["loc"]
    message = str(fault["msg"]).removeprefix("Value error, ")
    names = tuple(str(part) for part in location)
    path = next((names[:n] for n in range(len(names), 0, -1) if names[:n] in given.entries), None)
    if path is None and location[:1] == ("accounts",):
        return [Problem(f"accounts.{location[1]}: an account's name is a-z, 0-9, - and _", "rename it")]
    if path is None:
        return [Problem(shape.PREFIX + line, _rule_fix(line)) for line in message.splitlines()]
    entry = given.entries[path]
    if path == ("port",) and str(entry.value).startswith("tcp://"):
        text = f"{entry.where} was set by Kubernetes, for the Service of that name"
        return [Problem(text, "enableServiceLinks: false   (in the pod's spec)")]
    item = next((f" (item {part + 1})" for part in location[len(path) :] if isinstance(part, int)), "")
    joint = " " if fault["type"] == "value_error" else ": "
    text = f"{entry.where}{item}{joint}{message[:1].lower()}{message[1:]}"
    return [Problem(text, _line(path) if not entry.from_file else _content_of(path, entry))]


def _rule_fix(rule: str) -> str:
    leaf = next((leaf for leaf in shape.leaves().values() if rule.startswith(leaf.variable[len(shape.PREFIX) :])), None)
    return _line(leaf.path) if leaf else "see the settings in docs/"


def _line(path: shape.Path) -> str:
    return f"{shape.variable(path)}={_example(path)}"


def _content_of(path: shape.Path, entry: Entry) -> str:
    return f'echo "{_example(path)}" >{entry.beside / str(entry.value)}'


def _example(path: shape.Path) -> str:
    leaf = shape.find(path)
    return str(leaf.field.examples[0]) if leaf and leaf.field.examples else "…"


def _dotted(name: str) -> str:
    return name.removeprefix(shape.PREFIX).replace(shape.DEEPER, ".").lower()


def _is_table(path: shape.Path) -> bool:
    return any(
        len(leaf) > len(path) and all(a in (b, shape.ANY) for a, b in zip(leaf, path, strict=False))
        for leaf in shape.leaves()
    )


def _put(tree: dict[str, Any], path: shape.Path, value: Any) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
    tree[path[-1]] = value
