from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from hypothesis import given

from storage import submissions, tasks
from storage.database import Connection, Database
from storage.errors import Duplicate, Missing
from storage.records import (
    Submission,
    SubmissionStatus,
)
from tests.storage.builders import (
    ACCOUNT,
    FUTURE,
    NOW,
    SECOND,
    finished,
    plant,
    submission,
    task,
)
from tests.storage.strategies import ON_ONE_DATABASE, fresh, rows


@ON_ONE_DATABASE
@given(row=rows(Submission))
async def test_every_field_of_a_submission_survives(database: Database, row: Submission) -> None:
    owner = finished(fresh("task"), account=fresh("account"))
    await plant(database, owner)
    row = replace(row, id=fresh("sub"), task_id=owner.id)
    await database.write(lambda tx: submissions.insert(tx, [row]))
    assert await database.read(lambda tx: submissions.of_task(tx, owner.id)) == [row]


async def test_a_submission_needs_its_task(database: Database) -> None:
    with pytest.raises(Missing):
        await database.write(lambda tx: submissions.insert(tx, [submission(task_id="task_none")]))


async def test_submissions_lead_to_their_tasks_and_say_who_was_asked(database: Database) -> None:
    await plant(database, task("task_1"), task("task_2"))
    made = [submission("sub_1"), submission("sub_2", number=2), submission("sub_3", "task_2", account="second")]
    await database.write(lambda tx: submissions.insert(tx, [made[1], made[0], made[2]]))
    assert await database.read(lambda tx: submissions.of_task(tx, "task_1")) == made[:2]
    found = await database.read(lambda tx: tasks.by_submissions(tx, ["sub_3", "sub_1", "sub_none"]))
    assert found == {"sub_1": ("task_1", ACCOUNT), "sub_3": ("task_2", "second")}


async def test_a_submission_number_is_used_once(database: Database) -> None:
    await plant(database, task())
    with pytest.raises(Duplicate, match="number"):
        await database.write(lambda tx: submissions.insert(tx, [submission("sub_1"), submission("sub_2")]))


async def settle(
    database: Database, status: SubmissionStatus, *, at: int = NOW, found: str | None = None, detail: str | None = None
) -> Submission:
    async def unit(tx: Connection) -> Submission:
        await submissions.settle(tx, "sub_1", status, now=at, provider_task_id=found, detail=detail)
        return (await submissions.of_task(tx, "task_1"))[0]

    return await database.write(unit)


async def test_a_settled_submission_is_not_unsettled(database: Database) -> None:
    await plant(database, task())
    await database.write(lambda tx: submissions.insert(tx, [submission()]))
    unsure = await settle(database, SubmissionStatus.AMBIGUOUS, detail="no reply")
    assert (unsure.status, unsure.settled_at, unsure.detail) == (SubmissionStatus.AMBIGUOUS, NOW, "no reply")
    sure = await settle(database, SubmissionStatus.ACCEPTED, at=NOW + SECOND, found="4711")
    assert asdict(sure) == asdict(
        submission(status=SubmissionStatus.ACCEPTED, settled_at=NOW + SECOND, provider_task_id="4711")
    )
    for later in SubmissionStatus:
        assert await settle(database, later, at=FUTURE, found="4712") == sure


async def test_an_id_that_was_learned_is_not_replaced(database: Database) -> None:
    await plant(database, task())
    await database.write(lambda tx: submissions.insert(tx, [submission()]))
    await settle(database, SubmissionStatus.AMBIGUOUS, found="4711")
    assert (await settle(database, SubmissionStatus.REFUSED, found="4712")).provider_task_id == "4711"


async def test_an_id_that_is_learned_late_is_kept_and_decides_nothing(database: Database) -> None:
    await plant(database, task())
    await database.write(lambda tx: submissions.insert(tx, [submission()]))
    settled = await settle(database, SubmissionStatus.DEFERRED, detail="never sent")
    late = await settle(database, SubmissionStatus.ACCEPTED, at=FUTURE, found="4711", detail="a reply after all")
    assert late == replace(settled, provider_task_id="4711")
