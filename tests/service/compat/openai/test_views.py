"""Tasks and endpoints in OpenAI's shapes: four states, and what is beyond them in `error.code`."""

from __future__ import annotations

from typing import Any

import pytest

from service.compat.openai.views import EVENTS_OF, STATUSES, endpoint, page, video
from service.core.events import task_view
from storage.records import Endpoint, Failure, FailureCode, Output, Task, TaskStatus, evolve

AT = 1_795_000_000_000_000
TASK = Task(
    id="task_1", project_id="prj_1", account="main", provider="cloudsway", model="kling-3.0-turbo",
    status=TaskStatus.QUEUED, input='{"prompt": "A boat", "duration": 5, "aspect_ratio": "9:16", "quality": "pro"}',
    deadline_at=AT, created_at=AT, updated_at=AT,
)  # fmt: skip


def shown(**changes: Any) -> dict[str, object]:
    task = evolve(TASK, **changes)
    return video(task, view=task_view(task, public_url="", output_url=None), output_url=None)


def test_a_video_has_every_member_of_the_sdks_type() -> None:
    told = shown()
    assert told.pop("taskrelay")["status"] == "queued"  # type: ignore[index]
    assert told == {
        "id": "task_1", "object": "video", "model": "cloudsway/kling-3.0-turbo", "status": "queued", "progress": 0,
        "created_at": 1_795_000_000, "completed_at": None, "expires_at": None, "prompt": "A boat", "seconds": "5",
        "size": "1080x1920", "remixed_from_video_id": None, "error": None,
    }  # fmt: skip


def test_every_status_is_one_of_their_four() -> None:
    assert set(STATUSES) == set(TaskStatus)
    assert set(STATUSES.values()) == {"queued", "in_progress", "completed", "failed"}


@pytest.mark.parametrize(
    ("status", "failure", "code"),
    [
        (TaskStatus.FAILED, Failure(code=FailureCode.CONTENT_REJECTED, message="no"), "content_rejected"),
        (TaskStatus.FAILED, None, "failed"),
        (TaskStatus.CANCELED, None, "canceled"),
        (TaskStatus.EXPIRED, Failure(code=FailureCode.DEADLINE, message="no"), "expired"),
    ],
)
def test_every_end_without_a_film_is_failed_and_says_how(
    status: TaskStatus, failure: Failure | None, code: str
) -> None:
    told = shown(status=status, failure=failure, finished_at=AT + 9_000_000)
    assert (told["status"], told["completed_at"]) == ("failed", 1_795_000_009)
    assert told["error"]["code"] == code and told["error"]["message"]  # type: ignore[index]


def test_a_completed_one_is_whole() -> None:
    told = shown(status=TaskStatus.SUCCEEDED, finished_at=AT, progress=40, outputs=(Output(url="https://x.example/a"),))
    assert (told["status"], told["progress"], told["error"]) == ("completed", 100, None)


def test_what_was_given_beside_prompt_and_length_alone_is_enough() -> None:
    told = shown(input='{"shots": []}')
    assert (told["prompt"], told["seconds"], told["size"]) == (None, "", None)


def test_an_endpoint_tells_the_end_of_its_secret_alone() -> None:
    one = Endpoint(id="ep_1", project_id="prj_1", url="https://x.example", created_at=AT, updated_at=AT)
    told = endpoint(one, secret="whsec_abcdefgh")
    assert told["signing_secret_hint"] == "whsec_…efgh" and "abcd" not in str(told)
    assert told["event_types"] == ["video.completed", "video.failed"] and told["name"] == ""
    assert set(EVENTS_OF) == {"video.completed", "video.failed"}


def test_a_page_names_its_ends() -> None:
    assert page([], has_more=False) == {
        "object": "list",
        "data": [],
        "has_more": False,
        "first_id": None,
        "last_id": None,
    }
    two = page([{"id": "a"}, {"id": "b"}], has_more=True)
    assert (two["first_id"], two["last_id"], two["has_more"]) == ("a", "b", True)
