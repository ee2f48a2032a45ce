"""What stands in deploy/, read as those who run it read it: a Dockerfile's instructions, compose files, units."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
COMPOSE = ("compose.yaml", "compose.scale.yaml")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINNED = re.compile(r"[a-z0-9./_-]+:(?!latest\b)[\w.-]*\d[\w.-]*(@sha256:[0-9a-f]{64})?")


class Instruction(NamedTuple):
    """One of a Dockerfile, its lines joined; `stage` counts from 0."""

    stage: int
    name: str
    text: str


def dockerfile() -> list[Instruction]:
    lines = [line for line in (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    stage, found = -1, []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, text = line.strip().partition(" ")
        if name:
            stage += name == "FROM"
            found.append(Instruction(stage, name, " ".join(text.split())))
    return found


def compose(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def services(name: str) -> Mapping[str, Mapping[str, Any]]:
    found: Mapping[str, Mapping[str, Any]] = compose(name)["services"]
    return found


def unit(name: str) -> list[tuple[str, str]]:
    """The settings of a unit, in order."""
    lines = (DEPLOY / name).read_text(encoding="utf-8").splitlines()
    return [(key, value) for line in lines if line[:1] not in ("#", "[", "") for key, _, value in [line.partition("=")]]
