from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from service.core import links
from service.core.lifecycle import Outcome, advance, rings
from service.core.links import Standing
from service.core.observation import Claim, Observation, Reading, Source
from storage.records import Output, Task
from tests.service.core.builders import (
    DAY,
    FAILED,
    HOUR,
    JOB,
    MINUTE,
    OUTPUT,
    PROCESSING,
    SUCCEEDED,
    Life,
    poll,
    push,
    rules,
    see,
)
from tests.service.pipeline.parties import SECOND

END = SUCCEEDED.finished_at or 0
DIES = END + 30 * DAY
DATED = replace(SUCCEEDED, outputs=(replace(OUTPUT, expires_at=DIES),))
FRESH = Output(url="https://cdn.example.com/fresh.mp4", expires_at=DIES + 30 * DAY)


def answer(claim: Claim, at: int, **more: Any) -> Observation:
    """What a query brings that a reader made us send."""
    return poll(claim, at, prompted_by=Claim.WANTED, provider_task_id=JOB, **more)


def told(task: Task, *outputs: Output) -> Task:
    return replace(task, outputs=outputs)


# How long a link lasts


@pytest.mark.parametrize(
    ("output", "now", "known"),
    [
        (OUTPUT, END + DAY - 1, Standing.LIVE),
        (OUTPUT, END + DAY, Standing.DOUBTFUL),
        (replace(OUTPUT, told_at=END + DAY), END + 2 * DAY - 1, Standing.LIVE),
        (replace(OUTPUT, told_at=END + DAY), END + 2 * DAY, Standing.DOUBTFUL),
        (replace(OUTPUT, expires_at=DIES), DIES - 1, Standing.LIVE),
        (replace(OUTPUT, expires_at=DIES), DIES, Standing.DEAD),
        (replace(OUTPUT, expires_at=DIES, told_at=DIES), DIES + 600 * SECOND - 1, Standing.LIVE),
        (replace(OUTPUT, expires_at=DIES, told_at=DIES), DIES + 600 * SECOND, Standing.DEAD),
        (replace(OUTPUT, expires_at=DIES, gone_at=END), END + 1, Standing.GONE),
    ],
)
def test_a_link_is_good_until_its_stated_end_and_where_none_is_stated_for_a_day(
    output: Output, now: int, known: Standing
) -> None:
    assert links.standing(told(SUCCEEDED, output), now) is known


def test_without_an_output_there_is_no_link() -> None:
    assert links.standing(FAILED, END) is Standing.NONE


# What a reader's wish does


def test_a_wish_rings_for_an_output_that_was_settled_and_is_still_ours_to_tell() -> None:
    wish = Reading(claim=Claim.WANTED)
    assert rings(DATED, wish)
    for other in (
        FAILED,
        PROCESSING,
        replace(DATED, erased_at=END),
        told(DATED),
        replace(DATED, provider_task_id=None),
    ):
        assert not rings(other, wish)


def test_a_wish_itself_decides_nothing() -> None:
    for task in (DATED, PROCESSING):
        assert advance(task, see(Claim.WANTED, Source.READER, DIES), rules(DIES)).outcome is Outcome.IGNORED


# What the answers do


def test_a_new_link_takes_the_place_of_the_old_one_and_no_event_tells_of_it() -> None:
    life = Life(DATED)
    life.hear(answer(Claim.SUCCEEDED, DIES + 1, outputs=(FRESH,)))
    assert life.task.outputs == (replace(FRESH, told_at=DIES + 1),)
    assert (life.told, [note.kind for note in life.notes]) == ([], ["output_renewed"])
    assert (life.task.status, life.task.final_at, life.task.sequence) == (DATED.status, DATED.final_at, DATED.sequence)
    assert links.standing(life.task, DIES + 2) is Standing.LIVE


def test_the_same_link_once_more_is_remembered_and_not_told() -> None:
    life = Life(DATED)
    life.hear(answer(Claim.SUCCEEDED, DIES, outputs=DATED.outputs))
    assert links.standing(life.task, DIES + 1) is Standing.LIVE
    assert life.notes == []
    assert life.outcomes == [Outcome.CHANGED], "whoever waits is woken"


@pytest.mark.parametrize("seen", [push, poll])
def test_other_news_of_a_job_that_has_ended_renew_nothing(seen: Any) -> None:
    life = Life(DATED)
    life.hear(seen(Claim.SUCCEEDED, DIES, outputs=(FRESH,)))
    life.hear(replace(answer(Claim.SUCCEEDED, DIES, outputs=(FRESH,)), source=Source.CALLBACK))
    assert life.task == DATED


def test_an_answer_about_another_job_renews_nothing() -> None:
    life = Life(DATED)
    life.hear(poll(Claim.SUCCEEDED, DIES, prompted_by=Claim.WANTED, provider_task_id="job-2", outputs=(FRESH,)))
    assert life.task.outputs == DATED.outputs
    assert life.conflicts == ["mismatch:job-2"]


def test_an_answer_that_comes_after_the_erasure_brings_nothing_back() -> None:
    erased = replace(DATED, outputs=(), erased_at=DIES)
    assert advance(erased, answer(Claim.SUCCEEDED, DIES + 1, outputs=(FRESH,)), rules(DIES + 1)).task is erased


@pytest.mark.parametrize("claim", [Claim.UNREACHABLE, Claim.UNKNOWN, Claim.RUNNING, Claim.WAITING])
def test_an_answer_that_says_nothing_of_the_output_is_no_evidence(claim: Claim) -> None:
    life = Life(DATED)
    for minute in range(10):
        life.hear(answer(claim, DIES + minute * MINUTE))
    assert life.task == DATED


# When it is gone

EMPTY = [Claim.ABSENT, Claim.SUCCEEDED]


@pytest.mark.parametrize("claim", EMPTY)
def test_one_odd_answer_is_no_proof_and_three_over_a_minute_are(claim: Claim) -> None:
    life = Life(DATED)
    for second in (0, 30):
        life.hear(answer(claim, DIES + second * SECOND))
        assert links.standing(life.task, DIES + second * SECOND) is Standing.DEAD
    life.hear(answer(claim, DIES + 60 * SECOND))
    assert links.standing(life.task, DIES + 60 * SECOND) is Standing.GONE
    assert [note.kind for note in life.notes] == ["output_missing", "output_gone"]
    assert life.task.outputs[0].url == OUTPUT.url, "the last link stays readable"
    assert (life.task.streak, life.told) == (None, [])


def test_many_odd_answers_within_a_minute_are_no_proof() -> None:
    life = Life(DATED)
    for second in range(59):
        life.hear(answer(Claim.ABSENT, DIES + second * SECOND))
    assert links.standing(life.task, DIES + MINUTE) is Standing.DEAD


def test_where_no_end_was_announced_it_takes_ten_minutes_and_the_old_link_serves_meanwhile() -> None:
    life, since = Life(SUCCEEDED), END + DAY
    for minute in (0, 5, 9):
        life.hear(answer(Claim.ABSENT, since + minute * MINUTE))
        assert links.standing(life.task, since + minute * MINUTE) is Standing.DOUBTFUL
    life.hear(answer(Claim.ABSENT, since + 10 * MINUTE))
    assert links.standing(life.task, since + 10 * MINUTE) is Standing.GONE


def test_a_link_among_odd_answers_begins_the_count_anew() -> None:
    life = Life(DATED)
    for second in (0, 30):
        life.hear(answer(Claim.ABSENT, DIES + second * SECOND))
    life.hear(answer(Claim.SUCCEEDED, DIES + 40 * SECOND, outputs=DATED.outputs))
    life.hear(answer(Claim.ABSENT, DIES + HOUR))
    assert (life.task.streak_count, life.task.outputs[0].gone_at) == (1, None)


def test_what_was_gone_and_is_shown_again_is_there_again() -> None:
    life = Life(told(DATED, replace(DATED.outputs[0], gone_at=DIES)))
    life.hear(answer(Claim.SUCCEEDED, DIES + DAY, outputs=(FRESH,)))
    assert links.standing(life.task, DIES + DAY) is Standing.LIVE


def test_a_job_that_is_called_failed_afterwards_is_told_once_and_counts_as_having_no_output() -> None:
    life = Life(DATED)
    for second in (0, 30, 60):
        life.hear(answer(Claim.FAILED, DIES + second * SECOND))
    assert life.conflicts == ["verdict:failed"]
    assert links.standing(life.task, DIES + 60 * SECOND) is Standing.GONE
    assert life.task.status is SUCCEEDED.status


# How often a provider is asked


def test_after_an_answer_without_a_link_nobody_asks_for_a_while() -> None:
    assert links.ask_at(DATED, DIES) == DIES
    dead, doubtful = Life(DATED), Life(SUCCEEDED)
    dead.hear(answer(Claim.ABSENT, DIES))
    doubtful.hear(answer(Claim.ABSENT, END + DAY))
    assert links.ask_at(dead.task, DIES) == DIES + 30 * SECOND
    assert links.ask_at(doubtful.task, END + DAY) == END + DAY + 5 * MINUTE
