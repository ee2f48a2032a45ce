from __future__ import annotations

import re
from pathlib import Path

import orjson

from service.core import samples
from service.core.event_types import CATALOGUE, subject, unasked
from service.core.events import EventType
from service.core.request import EVENT_TYPES


def test_the_catalogue_has_every_type_in_its_order() -> None:
    assert list(CATALOGUE) == list(EventType)
    assert all(kind.tells.endswith(".") and kind.when.endswith(".") for kind in CATALOGUE.values())


def test_unasked_an_endpoint_hears_of_the_ends() -> None:
    assert {type.value for type in EventType if unasked(type)} == {
        "task.succeeded", "task.failed", "task.canceled", "task.expired",
    }  # fmt: skip


def test_nothing_sends_what_is_reserved() -> None:
    assert [type for type, kind in CATALOGUE.items() if kind.reserved] == [EventType.TASK_CORRECTED]


def test_a_task_may_name_every_type_that_is_about_tasks() -> None:
    assert {type.value for type in EventType if subject(type) == "task"} <= set(EVENT_TYPES)


PAGE = (Path(__file__).parents[3] / "docs" / "events.md").read_text(encoding="utf-8")
NOW = 1_795_209_000_123_456


def test_the_page_has_every_type_in_the_words_of_the_catalogue() -> None:
    told = {True: "yes", False: "no"}
    assert re.findall(r"^\| `([a-z_.]+\.[a-z_]+)` \| (.+) \| (.+) \| (.+) \|$", PAGE, re.MULTILINE) == [
        (type.value, kind.tells, kind.when, "never sent" if kind.reserved else told[unasked(type)])
        for type, kind in CATALOGUE.items()
    ]


def test_the_bodies_on_the_page_are_samples() -> None:
    shown = [orjson.loads(block) for block in re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)]
    assert len(shown) == 3
    for body in shown:
        made = samples.sample(
            EventType(body["type"]), id=samples.SAMPLE_EVENT, now=NOW, public_url="https://relay.example.org"
        )
        assert orjson.loads(made) == body
