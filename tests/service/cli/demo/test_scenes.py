from __future__ import annotations

import pytest

from service.cli.demo.scenes import SCENES, Played, body_of
from tests.service.cli.demo.records import BEGAN, job, played, received

NAMES = [scene.name for scene in SCENES]


@pytest.mark.parametrize("name", NAMES)
def test_what_went_well_has_no_fault(name: str) -> None:
    assert played(name).faults() == []


def bought_twice(one: Played) -> None:
    one.jobs *= 2


def never_bought(one: Played) -> None:
    one.jobs = []
    one.received = []


def untold(one: Played) -> None:
    one.received = []


def failed(one: Played) -> None:
    one.task["status"] = "failed"


def told_otherwise(one: Played) -> None:
    one.received = [received(one.scene.name, type="task.failed")]


def forged(one: Played) -> None:
    one.received = [received(one.scene.name, valid=False)]


def told_as_two(one: Played) -> None:
    one.received.append({**one.received[0], "webhook_id": "evt_other"})


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (bought_twice, "2 jobs bought, not 1"),
        (never_bought, "0 jobs bought, not 1"),
        (untold, "no event"),
        (failed, "it is failed, not succeeded"),
        (told_otherwise, "the event does not say task.succeeded"),
        (forged, "the signature is not valid: No matching signature found"),
        (told_as_two, "2 different events, not 1"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_every_broken_promise_is_named(name: str, spoil: object, fault: str) -> None:
    one = played(name)
    spoil(one)  # type: ignore[operator]
    assert fault in one.faults()


def test_the_same_event_twice_is_at_least_once_and_no_fault() -> None:
    one = played("pushed")
    one.received *= 2
    assert one.faults() == []


def test_a_scene_that_was_not_played_as_said_is_no_pass() -> None:
    unheard, pushed, found = played("pushed"), played("polled"), played("push-lost")
    unheard.jobs = [job("pushed", taken=False)]
    pushed.jobs = [job("pushed", taken=True)]
    found.jobs = [job("pushed", taken=True)]
    assert unheard.faults() == ["none of its pushes was taken"]
    assert pushed.faults() == ["it was pushed, and should only have been polled"]
    assert found.faults() == ["its push was not thrown away"]


def test_a_missing_event_can_say_how_long_it_was_waited_for() -> None:
    one = played("pushed")
    one.received = []
    assert one.faults("no event within 3 s") == ["no event within 3 s"]


def test_instants_count_from_the_creation() -> None:
    one = played("pushed")
    assert one.began == BEGAN
    spans = [one.after(one.finished_at), one.after(one.known_at), one.after(one.had_at), one.after(None)]
    assert spans == [2.0, pytest.approx(2.4), 2.5, None]


def test_every_prompt_is_its_own_so_the_ledger_can_tell_them_apart() -> None:
    assert len({scene.prompt for scene in SCENES}) == len(SCENES) == 3


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"data": []}', "\xff"])
def test_what_is_no_event_is_none(body: str) -> None:
    assert body_of({"body": body}) == {"type": None, "data": {}}
