from __future__ import annotations

import asyncio
import json

import pytest

from storage import wakeups
from storage.wakeups import EVERYTHING, Hint, NoWakeups, open_wakeups, read, spelled, together

LANE = ("endpoint", "ep_1")


def test_what_is_said_is_what_is_heard_but_not_by_who_said_it() -> None:
    hint = Hint(lanes={LANE: 0, ("account", "cloudsway"): 1500}, ids=frozenset({"task_1", "prj_1"}))
    text = spelled(hint, "me")
    assert read(text, "another") == hint
    assert read(text, "me") is None


def test_more_than_fits_is_said_as_everything() -> None:
    fits = Hint(ids=frozenset(f"task_{number:026d}" for number in range(200)))
    over = Hint(ids=frozenset(f"task_{number:026d}" for number in range(300)))
    assert read(spelled(fits, "me"), "another") == fits
    assert len(spelled(fits, "me")) < 8000 > len(spelled(over, "me"))
    assert read(spelled(over, "me"), "another") == EVERYTHING


def test_of_several_the_first_time_of_a_lane_counts() -> None:
    hints = [Hint(lanes={LANE: 900}, ids=frozenset({"a"})), Hint(lanes={LANE: 0}, ids=frozenset({"b"}))]
    assert together(hints) == Hint(lanes={LANE: 0}, ids=frozenset({"a", "b"}))
    assert together([*hints, EVERYTHING]).everything


@pytest.mark.parametrize(
    "text",
    [
        "", "nonsense", "[]", "1", "{}", '{"lanes": 1, "ids": []}', '{"lanes": [["a"]], "ids": []}', '{"lanes": [[1, 2, "x"]], "ids": []}',
        '{"lanes": [["endpoint", "ep_1", 1e999]], "ids": []}', '{"lanes": [], "ids": 7}', "[" * 7000,
    ],
)  # fmt: skip
def test_what_is_no_hint_makes_us_look_and_nothing_else(text: str) -> None:
    assert read(text, "me") == EVERYTHING


def test_a_lane_is_never_due_before_now() -> None:
    said = json.dumps({"from": "x", "lanes": [["endpoint", "ep_1", -5]], "ids": []})
    assert read(said, "me") == Hint(lanes={LANE: 0})


async def test_one_process_on_sqlite_hears_nothing_and_misses_nothing() -> None:
    line = open_wakeups("sqlite:///t.db", notify=True, name="me")
    assert isinstance(line, NoWakeups) and line.alone and line.alive
    heard: list[Hint] = []
    line.tell(EVERYTHING)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await line.run(heard.append)
    await line.close()
    assert heard == []


def test_behind_a_pooler_nothing_is_heard_and_it_says_so() -> None:
    line = open_wakeups("postgresql://nobody@127.0.0.1:1/none", notify=False, name="me")
    assert not line.alone and not line.alive


def test_a_payload_of_the_longest_hint_is_one_the_server_takes() -> None:
    assert wakeups.PAYLOAD_BYTES < 8000
