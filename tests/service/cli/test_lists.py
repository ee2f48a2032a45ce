from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from service.cli.client import Api
from service.cli.lists import listed, named, pages
from service.cli.terminal import USAGE, Stop
from tests.service.cli.scripted import Scripted, scripting

KEY = "trk_key"


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    with scripting() as found:
        answers = [page([1, 2], "b"), page([3], None)]
        found.answer = lambda: answers.pop(0)
        yield found


def page(rows: list[int], following: str | None) -> tuple[int, dict[str, str], bytes]:
    body = {"object": "list", "data": rows, "has_more": following is not None, "next": following}
    return 200, {}, json.dumps(body).encode()


def test_all_pages_are_one_list_and_each_takes_up_where_the_one_before_ended(scripted: Scripted) -> None:
    with Api(scripted.url, KEY) as api:
        whole = listed(api, "/v1/tasks", {"status": "queued"}, limit=7, after="a", whole=True, quiet=True)
    assert whole == {"object": "list", "data": [1, 2, 3], "has_more": False, "next": None}
    assert [path for _, path, _, _ in scripted.asked] == [
        "/v1/tasks?status=queued&limit=200&after=a",
        "/v1/tasks?status=queued&limit=200&after=b",
    ]


def test_one_page_is_as_long_as_was_said(scripted: Scripted) -> None:
    with Api(scripted.url, KEY) as api:
        assert listed(api, "/v1/tasks", {}, limit=7, after=None, whole=False, quiet=True)["next"] == "b"
    assert [path for _, path, _, _ in scripted.asked] == ["/v1/tasks?limit=7"]


def test_no_page_is_asked_for_before_it_is_wanted(scripted: Scripted) -> None:
    with Api(scripted.url, KEY) as api:
        assert next(pages(api, "/v1/tasks", {}))["data"] == [1, 2]
    assert len(scripted.asked) == 1


def test_pairs_are_a_name_and_whatever_follows_it() -> None:
    assert named(["a=b=c", "d="]) == {"a": "b=c", "d": ""} and named(None) == {}
    for wrong in ("a", "=b"):
        with pytest.raises(Stop) as stop:
            named([wrong])
        assert (stop.value.code, stop.value.text) == (USAGE, f"--metadata {wrong!r}: write key=value")
