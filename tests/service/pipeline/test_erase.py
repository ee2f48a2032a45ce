from __future__ import annotations

import pytest

from service.core.observation import Claim, Source
from service.pipeline.audit_trail import Act
from service.pipeline.erase import CannotErase, erase
from tests.service.pipeline.rig import Rig

ACT = Act(action="erase", key_id="key_1")


async def test_all_of_it_happens_or_nothing(still: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    project = await still.project()
    task = await still.task(project)
    await still.see(task, Claim.CANCEL, source=Source.OPERATOR)
    before = await still.now(task)

    async def fails(*given: object, **named: object) -> None:
        raise RuntimeError("the disk is gone")

    with monkeypatch.context() as broken, pytest.raises(RuntimeError):
        broken.setattr("service.pipeline.audit_trail.note", fails)
        await still.recorder.write(lambda tx, ledger: erase(tx, ledger, task.id, project, ACT))
    assert await still.now(task) == before
    await still.recorder.write(lambda tx, ledger: erase(tx, ledger, task.id, project, ACT))
    assert (await still.now(task)).input == "{}"


async def test_whose_it_is_not_learns_nothing_and_what_goes_on_is_refused(still: Rig) -> None:
    project, other = await still.project(), await still.project()
    task = await still.task(project)
    assert await still.recorder.write(lambda tx, ledger: erase(tx, ledger, task.id, other, ACT)) is None
    with pytest.raises(CannotErase, match="It goes on: it is queued"):
        await still.recorder.write(lambda tx, ledger: erase(tx, ledger, task.id, project, ACT))
