"""The pages that clients are sent to name what there is, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from service.api.app import ROUTES, Api
from service.api.problems import CODES
from service.core.events import EventType
from service.core.request import Body, Input
from service.pipeline.keys import SCOPES
from storage.records import Charge, DeliveryStatus, FailureCode, TaskStatus

DOCS = Path(__file__).parents[3] / "docs"
OPEN = {
    "GET /o/{token}",
    "POST /callbacks/{provider}/{token}",
    "GET /livez",
    "GET /readyz",
    "GET /",
    "GET /docs/problems",
    "GET /openapi.json",
    "GET /docs",
    "GET /docs/assets/{name}",
}
METRICS = "GET /metrics"  # takes a token of its own beside a key: tests/service/api/test_metrics.py
ROW = re.compile(r"^\| \[`([A-Z]+ \S+)`\]\(#[a-z-]+\) \| ([a-z, ]+) \|", re.MULTILINE)


@pytest.fixture(scope="module")
def problems() -> str:
    return (DOCS / "problems.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def api() -> str:
    return (DOCS / "api.md").read_text(encoding="utf-8")


def test_every_code_has_its_anchor_and_every_anchor_is_a_code(problems: str) -> None:
    assert re.findall(r"^## (.+)$", problems, re.MULTILINE) == list(CODES)


def test_each_problem_is_told_with_its_status(problems: str) -> None:
    told = dict(re.findall(r"^## (\w+)\n\n([0-9]{3})\. ", problems, re.MULTILINE))
    assert told == {code: str(kind.status) for code, kind in CODES.items()}


def test_every_route_is_on_the_page_with_its_scopes(api: str) -> None:
    told = dict(ROW.findall(api))
    keyed = {route: scopes for route, scopes in told.items() if scopes != "no key"}
    asked = {f"{method} {path}": ", ".join(scopes) for method, path, scopes, _ in ROUTES}
    assert keyed == {**asked, METRICS: "admin"}
    assert told.keys() - keyed.keys() == OPEN


async def test_what_the_page_calls_open_answers_without_a_key(api: str, app: Api) -> None:
    paths = {route.path for route in app._router.routes}  # type: ignore[attr-defined]
    keyed = {path for _, path, _, _ in ROUTES}
    assert paths - keyed == {route.split()[1] for route in OPEN | {METRICS}} - {"/callbacks/{provider}/{token}"}


@pytest.mark.parametrize(
    "words",
    [EventType, FailureCode, TaskStatus, DeliveryStatus, Charge, SCOPES, Body.__annotations__, Input.__annotations__],
    ids=["events", "failures", "statuses", "deliveries", "charges", "scopes", "members", "input"],
)
def test_every_word_of_a_closed_set_is_on_the_page(api: str, words: list[str]) -> None:
    assert [str(word) for word in words if f"`{word}`" not in api] == []
