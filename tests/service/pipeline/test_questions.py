"""Whom an account is asked after: one question for all pushes of a task, whole batches, nobody twice in two seconds."""

from __future__ import annotations

from dataclasses import replace

from service.core.observation import Claim
from service.pipeline.due import Round
from service.pipeline.questions import Question, Questions
from storage.callbacks import Bell
from storage.records import Task, TaskStatus
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig
from tests.service.pipeline.steps import VIDEO
from tests.storage.builders import task

PROCESSING = task(status=TaskStatus.PROCESSING)


class Asker:
    """Questions of one account, and what they want to be reminded of."""

    def __init__(self, rig: Rig, account: str = "cloudsway") -> None:
        self.later: list[int] = []
        self.buying: set[str] = set()
        self.clock = rig.clock
        desk = rig.accounts.get(account) or rig.account(account)
        self.questions = Questions(desk, clock=rig.clock, later=self.later.append, buying=self.buying)

    def ask(self, question: Question) -> None:
        self.questions.begin(question)
        self.questions.end(question)

    def rung(self, *rung: Task, claims: tuple[Claim, ...] = (Claim.SUCCEEDED,)) -> list[Question]:
        bells = [Bell(f"obs_{at}", one.id, claim.value, "{}", at) for one in rung for at, claim in enumerate(claims)]
        found = self.questions.bells(Round(bells=bells, rung={one.id: one for one in rung}))
        return list(self.questions.of_bells(found))


def some(count: int, **changes: object) -> list[Task]:
    made = replace(PROCESSING, **changes)  # type: ignore[arg-type]
    return [replace(made, id=f"task_{n}", provider_task_id=f"{n}") for n in range(count)]


def sizes(questions: list[Question]) -> list[int]:
    return [len(question.tasks) for question in questions]


async def test_due_tasks_are_asked_after_in_whole_batches_in_their_order(still: Rig) -> None:
    due = some(45)
    found = list(Asker(still).questions.of_bound(due))
    assert sizes(found) == [20, 20, 5]
    assert [one.id for question in found for one in question.tasks] == [one.id for one in due]
    assert sizes(list(Asker(still, "ulazai").questions.of_bound(some(3)))) == [1, 1, 1]


async def test_whoever_is_being_asked_after_or_was_just_now_is_left_out(still: Rig) -> None:
    asker, due = Asker(still), some(3)
    asker.questions.begin(Question(tasks=(due[0],)))
    asker.ask(Question(tasks=(due[1],)))
    assert [question.tasks for question in asker.questions.of_bound(due)] == [(due[2],)]
    assert asker.later == [still.clock() + 2 * SECOND]
    still.clock.advance(2)
    assert sizes(list(asker.questions.of_bound(due))) == [2]


async def test_pushes_of_a_task_ring_for_one_question_that_knows_the_end_they_claim(still: Rig) -> None:
    [question] = Asker(still).rung(*some(2), claims=(Claim.RUNNING, Claim.SUCCEEDED, Claim.RUNNING))
    assert question.prompts == {"task_0": Claim.SUCCEEDED, "task_1": Claim.SUCCEEDED}


async def test_a_wish_for_a_link_is_what_counts_after_the_end_whatever_else_rang(still: Rig) -> None:
    [done] = some(1, status=TaskStatus.SUCCEEDED, final_at=1, finished_at=1, outputs=VIDEO)
    asker = Asker(still)
    assert asker.rung(done, claims=(Claim.SUCCEEDED, Claim.RUNNING)) == []
    [question] = asker.rung(done, claims=(Claim.SUCCEEDED, Claim.WANTED, Claim.RUNNING))
    assert question.prompts == {"task_0": Claim.WANTED}


async def test_a_task_rings_once_in_two_seconds(still: Rig) -> None:
    asker, [one] = Asker(still), some(1)
    [question] = asker.rung(one)
    asker.ask(question)
    assert asker.rung(one) == []
    still.clock.advance(2)
    assert len(asker.rung(one)) == 1


async def test_a_poll_just_made_does_not_silence_a_push(still: Rig) -> None:
    asker, [one] = Asker(still), some(1)
    asker.ask(Question(tasks=(one,)))
    assert len(asker.rung(one)) == 1


async def test_a_push_for_a_task_without_a_job_looks_for_it_where_that_can_be_done(still: Rig) -> None:
    unbound = replace(PROCESSING, provider_task_id=None, status=TaskStatus.UNCONFIRMED)
    [question] = Asker(still).rung(unbound)
    assert question.look_up
    assert Asker(still, "ulazai").rung(replace(unbound, account="ulazai")) == []


async def test_a_push_that_says_nothing_new_is_put_to_rest_unasked(still: Rig) -> None:
    [one] = some(1)
    said = Bell("obs_1", one.id, Claim.WAITING.value, "{}", 7)
    bells = Asker(still).questions.bells(Round(bells=[said], rung={one.id: one}))
    assert (bells.needless, bells.ringing) == ([said], [])


async def test_a_purchase_under_way_is_neither_looked_for_nor_asked_after(still: Rig) -> None:
    asker = Asker(still)
    unsure = replace(PROCESSING, provider_task_id=None, status=TaskStatus.UNCONFIRMED)
    assert sizes(list(asker.questions.of_unconfirmed([unsure]))) == [1]
    asker.buying.add(unsure.id)
    assert list(asker.questions.of_unconfirmed([unsure])) == [] and asker.rung(unsure) == []


async def test_what_is_too_old_to_matter_is_forgotten(still: Rig) -> None:
    asker = Asker(still)
    for one in some(1001):
        asker.ask(Question(tasks=(one,)))
    still.clock.advance(3)
    asker.ask(Question(tasks=(PROCESSING,)))
    assert len(asker.questions._asked_at) == 1
