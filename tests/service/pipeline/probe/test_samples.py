"""Samples hold what was said in shape, and nothing of whose it was."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from service.pipeline.probe.samples import CALLBACK_URL, JOB, TASK_ID, Redacting, samples
from service.providers.base import Reply
from tests.service.pipeline.probe import scene
from tests.service.pipeline.probe.scene import KEY, LINK, OURS, evidence


def test_every_kind_of_message_becomes_a_sample_that_names_no_customer() -> None:
    made = samples(evidence(), KEY)
    assert set(made) == {"submit-ok", "running", "succeeded", "batch", "lookup-found", "push-1", "push-2"}
    text = json.dumps(made)
    for theirs in (KEY, OURS, scene.JOB, "ksSecret", "Elm Street", "my-path", "req-of-a-customer", "/a/b/c"):
        assert theirs not in text, theirs
    assert made["submit-ok"]["expect"] == {
        "claim": "accepted", "provider_task_id": JOB, "external_id": TASK_ID, "provider_status": "submitted",
    }  # fmt: skip
    assert made["batch"]["others"] == {"100000000000000000": "absent"}
    assert made["succeeded"]["expect"]["outputs"] == ["https://v16.klingai.com/redacted.mp4"]  # type: ignore[index]


def test_a_number_stays_a_number_and_a_callback_url_of_ours_becomes_the_samples_own() -> None:
    redact = Redacting(evidence(), KEY)
    given = {
        "id": int(scene.JOB),
        "deep": [{"callback_url": "https://relay.example.com/callbacks/cloudsway/tok"}],
        "n": 1.5,
    }
    assert redact.plain(given) == {"id": int(JOB), "deep": [{"callback_url": CALLBACK_URL}], "n": 1.5}


@pytest.mark.parametrize("name", ["api_key", "user_id", "email", "webhook_secret", "access_token"])
def test_members_that_name_a_person_or_a_secret_are_masked_whatever_they_hold(name: str) -> None:
    assert Redacting(evidence(), KEY).plain({name: "anything"}) == {name: "***"}


def test_text_that_is_no_json_is_redacted_too() -> None:
    reply = Redacting(evidence(), KEY).reply(
        Reply(status=502, headers={"set-cookie": "s=1"}, body=f"<a href='{LINK}'>{KEY}".encode())
    )
    assert reply.body == b"<a href='https://v16.klingai.com/redacted.mp4'>***" and reply.headers == {}


def test_a_sample_that_still_held_the_key_would_not_be_written() -> None:
    seen = evidence()
    hidden = replace(seen.pushes[0], body=json.dumps({"id": scene.JOB, KEY: 1}).encode())  # as a member's name
    assert "push-1" not in samples(replace(seen, pushes=[hidden]), KEY)
