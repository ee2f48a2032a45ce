"""The two common names are ours alone, and what is declared, locked and explained is the same."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions, packages_distributions, version
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement

import service
import storage

ROOT = Path(__file__).parent.parent
LOCKS = ("requirements.txt", "requirements-dev.txt")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
RUNTIME = [*PROJECT["project"]["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
DEVELOPMENT = PROJECT["dependency-groups"]["dev"]


def owners(package: str, installed: Iterable[Distribution]) -> set[str]:
    """Which distributions put files into this package."""
    return {found.metadata["Name"] for found in installed for file in found.files or () if file.parts[:1] == (package,)}


def pins(lock: str) -> dict[str, Requirement]:
    """What a lock installs, by normalised name."""
    lines = (ROOT / "deploy" / lock).read_text(encoding="utf-8").splitlines()
    found = [Requirement(line.removesuffix("\\").strip()) for line in lines if re.match(r"[A-Za-z0-9]", line)]
    return {normal(pin.name): pin for pin in found}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("package", ["service", "storage"])
def test_no_other_distribution_owns_our_names(package: str) -> None:
    assert owners(package, distributions()) <= {"taskrelay"}


def test_a_stranger_with_our_name_is_noticed(tmp_path: Path) -> None:
    record = tmp_path / "service-0.1.1.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: service\nVersion: 0.1.1\n", encoding="utf-8")
    (record / "RECORD").write_text("service/__init__.py,,\nservice-0.1.1.dist-info/METADATA,,\n", encoding="utf-8")
    assert owners("service", distributions(path=[str(tmp_path)])) == {"service"}


def test_both_packages_are_loaded_from_the_same_place() -> None:
    folders = {Path(str(package.__file__)).parent.parent for package in (service, storage)}
    assert folders == {ROOT}


def test_the_installed_version_is_the_one_in_the_source() -> None:
    assert version("taskrelay") == service.__version__


def test_it_cannot_be_published_by_accident() -> None:
    assert "Private :: Do Not Upload" in PROJECT["project"]["classifiers"]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_index_and_no_place(lock: str) -> None:
    text = (ROOT / "deploy" / lock).read_text(encoding="utf-8")
    assert re.findall(r"(?m)^\s*-(?!-hash=sha256:[0-9a-f]{64}\b).*", text) == []
    assert re.findall(r"\w+://\S+|@ |(?<![\w.])/\w+", text) == []


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_is_exact_and_hashed(lock: str) -> None:
    text = (ROOT / "deploy" / lock).read_text(encoding="utf-8")
    entries = re.split(r"(?m)^(?=[A-Za-z0-9])", text)[1:]
    assert len(entries) > 20
    assert [
        entry.splitlines()[0] for entry in entries if not re.match(r"[\w.-]+==[\w.]+ .*\\\n +--hash=sha256:", entry)
    ] == []


@pytest.mark.parametrize(("lock", "wanted"), [(LOCKS[0], RUNTIME), (LOCKS[1], RUNTIME + DEVELOPMENT)])
def test_a_lock_satisfies_every_declared_range(lock: str, wanted: list[str]) -> None:
    pinned = pins(lock)
    for requirement in map(Requirement, wanted):
        pin = pinned.get(normal(requirement.name))
        assert pin, f"{requirement} is not in {lock}; make lock"
        assert requirement.specifier.contains(next(iter(pin.specifier)).version), (
            f"{pin} is not {requirement}; make lock"
        )


def test_both_locks_agree() -> None:
    running, developing = (pins(lock) for lock in LOCKS)
    assert {name: str(pin) for name, pin in running.items() if str(developing.get(name)) != str(pin)} == {}


def test_everything_imported_is_declared() -> None:
    declared = {normal(Requirement(line).name) for line in RUNTIME}
    owner = packages_distributions()
    ours = {"service", "storage"} | set(sys.stdlib_module_names)
    undeclared = {
        f"{path.relative_to(ROOT)} imports {name}"
        for top in ("service", "storage")
        for path in (ROOT / top).rglob("*.py")
        for name in imported(path) - ours
        if not declared & {normal(each) for each in owner.get(name, [name])}
    }
    assert undeclared == set()


def test_every_runtime_dependency_has_its_reason() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    explained = re.findall(r"(?m)^\| ([a-z0-9-]+) \| \S", page)
    assert sorted(set(explained) - {"distribution"}) == sorted(normal(Requirement(line).name) for line in RUNTIME)


@pytest.mark.parametrize("builder", [WheelBuilder, SdistBuilder])
def test_what_is_built_brings_what_is_no_python(builder: type[WheelBuilder | SdistBuilder]) -> None:
    built = {found.relative_path for found in builder(str(ROOT)).recurse_included_files()}
    needed = {
        path
        for top in ("service/api/openapi/assets", "storage/migrations")
        for path in (ROOT / top).iterdir()
        if path.is_file()
    }
    assert len(needed) > 7
    assert {str(path.relative_to(ROOT)) for path in needed} - built == set()


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    whole = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    parts = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[0] for name in whole | parts}
