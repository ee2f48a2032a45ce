"""A task's own `webhook_url`: on the way of every delivery, told of in the same log, and sent again by the same hand."""

from __future__ import annotations

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from service.core import signature
from service.core.observation import Claim
from service.core.times import SECOND
from service.pipeline.audit_trail import Act
from service.pipeline.redelivery import replay_failed, retry
from service.sandbox.subscriber import Answers
from storage import delivery_pages, endpoints, project_secrets
from storage.delivery_pages import Wanted
from tests.service.pipeline.rig import Rig
from tests.service.pipeline.steps import ended

BY_HAND = Act(action="delivery.retry", key_id="key_1")


async def logged(rig: Rig, project: str, task: str) -> list[tuple[str, str, int]]:
    page = await rig.database.read(lambda tx: delivery_pages.page(tx, project, Wanted(task=task), after=None, limit=50))
    return [(one.event_type, one.status.value, one.attempts) for one in page.deliveries]


async def test_one_that_wanted_no_more_is_sent_again_by_hand_with_its_id_bytes_and_signature(rig: Rig) -> None:
    project = await rig.project()
    assert rig.network is not None
    hidden = await rig.endpoint(project, url="http://127.0.0.1", hidden=True)
    rig.subscriber.answers = Answers(status=410, times=1)
    gone = await ended(rig, project, webhook=(hidden, f"{rig.network.subscriber_url}/gone?k=1", None))
    await rig.settle()
    other = await ended(rig, project, webhook=(hidden, f"{rig.network.subscriber_url}/other", None))
    await rig.settle()
    assert await logged(rig, project, gone.id) == [("task.failed", "canceled", 1)]
    assert await logged(rig, project, other.id) == [("task.failed", "delivered", 1)], (
        "one URL's wish is not the others'"
    )
    [(id,)] = await rig.rows("SELECT id FROM deliveries WHERE task_id = :id", id=gone.id)
    await retry(rig.recorder, str(id), project, BY_HAND)
    await rig.settle()
    assert await logged(rig, project, gone.id) == [("task.failed", "delivered", 2)]
    first, again = [one for one in rig.received() if one.path.startswith("/gone")]
    assert (first.webhook_id, first.sha256) == (again.webhook_id, again.sha256)
    assert first.valid and again.valid, "signed with the project's secret"


async def test_one_that_was_given_up_has_its_whole_schedule_again(rig: Rig) -> None:
    project = await rig.project()
    assert rig.network is not None
    hidden = await rig.endpoint(project, url="http://127.0.0.1", hidden=True)
    rig.subscriber.answers = Answers(status=500, times=12)
    task = await ended(rig, project, webhook=(hidden, f"{rig.network.subscriber_url}/mine", None))
    await rig.stretch(80 * 3600)
    assert await logged(rig, project, task.id) == [("task.failed", "exhausted", 10)]
    found = await rig.database.read(lambda tx: endpoints.by_id(tx, hidden))
    assert found is not None
    done = await replay_failed(rig.recorder, found, 0)
    assert done.count == 1
    await rig.stretch(3600)
    assert await logged(rig, project, task.id) == [("task.failed", "delivered", 13)]


async def test_only_the_types_it_names_are_sent_to_it(rig: Rig) -> None:
    project = await rig.project()
    assert rig.network is not None
    hidden = await rig.endpoint(project, url="http://127.0.0.1", hidden=True)
    for types, told in (
        (None, ["task.failed"]),
        ("task.submitted", ["task.submitted"]),
        ("task.*", ["task.failed", "task.processing", "task.submitted"]),
    ):
        task = await rig.task(project, webhook=(hidden, f"{rig.network.subscriber_url}/mine", types))
        await rig.bound(task, task.id)
        for claim in (Claim.RUNNING, Claim.FAILED):
            await rig.see(task, claim, job=task.id)
        await rig.settle()
        assert sorted(await logged(rig, project, task.id)) == [(type, "delivered", 1) for type in told]


async def test_a_rotation_of_the_projects_secret_is_followed_to_the_end_of_its_overlap(rig: Rig) -> None:
    project = await rig.project()
    assert rig.network is not None
    hidden = await rig.endpoint(project, url="http://127.0.0.1", hidden=True)
    webhook = (hidden, f"{rig.network.subscriber_url}/mine", None)
    [old] = rig.trusted
    await ended(rig, project, webhook=webhook)
    await rig.settle()
    new = signature.new_secret(b"n" * 24)
    sealed, now = rig.keyring.seal(new, purpose="project-secret", nonce=b"n" * 12), rig.clock()
    await rig.database.write(
        lambda tx: project_secrets.rotate(tx, project, sealed, now=now, retires_at=now + 9 * SECOND, most=10)
    )
    for seconds in (3, 6):
        rig.clock.advance(seconds)
        await ended(rig, project, webhook=webhook)
        await rig.settle()
    before, during, after = rig.received()
    told = [len(one.headers["webhook-signature"].split()) for one in (before, during, after)]
    assert told == [1, 2, 1]
    for secret, sent in ((old, before), (old, during), (new, during), (new, after)):
        assert Webhook(secret).verify(sent.body.encode(), dict(sent.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(after.body.encode(), dict(after.headers))
