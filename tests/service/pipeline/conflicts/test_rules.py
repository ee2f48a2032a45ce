"""Every conflict rule has a test that carries its number."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

SERVICE = Path(__file__).parents[2]
NAMED = re.compile(r"^(?:async )?def test_c0?(\d+)_", re.MULTILINE)
# What each is about; the tests say the rule itself.
RULES = {
    1: "a poll and a push race",
    2: "a verdict contradicts the first",
    3: "a push says one thing, the query another",
    4: "a word lies behind what is known",
    5: "a push comes twice",
    6: "a push comes before the reply",
    7: "nobody knows the task of a push",
    8: "a token is forged",
    9: "a push names another job",
    10: "two jobs were made for one task",
    11: "a word is unknown",
    12: "a success has no output",
    13: "a job is not found any more",
    14: "evidence comes from a worker that lost its lane",
    15: "a job belongs to another task",
    16: "a task goes on to another provider",
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"c{rule}")
def test_every_rule_has_a_test_of_the_whole_flow(rule: int) -> None:
    pages = [*(SERVICE / "pipeline").rglob("test_*.py"), *(SERVICE / "api").rglob("test_*.py")]
    assert rule in {int(found) for page in pages for found in NAMED.findall(page.read_text(encoding="utf-8"))}
