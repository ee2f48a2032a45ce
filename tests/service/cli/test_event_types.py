from __future__ import annotations

import json

from service.cli.event_types import members
from service.core.events import EventType
from tests.service.cli.conftest import Relay
from tests.service.cli.inside import said, said_json


def test_the_types_are_listed_with_who_hears_of_them(relay: Relay) -> None:
    lines = said(relay, "event-types").out.splitlines()
    assert lines[0].split() == ["TYPE", "SENT", "TELLS"]
    assert [line.split()[0] for line in lines[1:]] == [type.value for type in EventType]
    assert {line.split("  ")[0]: line for line in lines[1:]}["task.corrected"].split()[1] == "never"


def test_a_type_is_told_with_every_member_of_its_body(relay: Relay) -> None:
    shown = said(relay, "event-types", "task.failed").out
    assert shown.startswith("task.failed  It was refused, or it failed")
    rows = {line.split()[0] for line in shown.splitlines() if line}
    assert {"data.error.code", "data.outputs[].url", "data.cost.surplus[].account", "data.links.self"} <= rows
    assert said_json(relay, "event-types", "task.failed", "--format", "openai")["format"] == "openai"


def test_samples_are_bodies_as_the_hook_gets_them(relay: Relay) -> None:
    [made] = said_json(relay, "event-types", "account.paused", "--samples")
    assert (made["type"], made["test"]) == ("account.paused", True)
    assert json.loads(said(relay, "event-types", "account.paused", "--samples").out)["type"] == "account.paused"


def test_what_there_is_not_is_refused_by_name(relay: Relay) -> None:
    ended = said(relay, "event-types", "task.succeded")
    assert ended.code == 1 and "task.succeeded" in ended.err
    assert said(relay, "event-types", "--samples").code == 2


def test_members_are_told_by_their_paths() -> None:
    schema = {
        "properties": {
            "a": {"const": "x", "description": "A."},
            "b": {"type": ["array", "null"], "items": {"properties": {"c": {"type": "string"}}}},
        }
    }
    assert list(members(schema)) == [("a", '"x"', "A."), ("b", "array or null", ""), ("b[].c", "string", "")]
