from __future__ import annotations

import pytest

from service.sandbox.acedata_query import Wanted, read_wanted
from service.sandbox.order import Refused


def test_one_many_and_a_page_are_told_apart() -> None:
    assert read_wanted({"action": "retrieve", "id": "a"}) == Wanted(one=True, ids=("a",))
    assert read_wanted({"action": "retrieve_batch", "ids": ["a", "b", "a"]}) == Wanted(ids=("a", "b"))
    page = {
        "action": "retrieve_batch",
        "created_at_min": 1.5,
        "created_at_max": 9,
        "limit": 3,
        "offset": 6,
        "user_id": "u",
    }
    assert read_wanted(page) == Wanted(since=1.5, until=9.0, limit=3, offset=6)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({}, "action"),
        ({"id": "a"}, "action"),
        ({"action": "generate", "id": "a"}, "action"),
        ({"action": "delete", "id": "a"}, "action"),
        ({"action": "retrieve"}, "id is required"),
        ({"action": "retrieve", "task_id": "a"}, "id is required"),
        ({"action": "retrieve_batch", "ids": []}, "1 to 50"),
        ({"action": "retrieve_batch", "ids": [str(number) for number in range(51)]}, "1 to 50"),
        ({"action": "retrieve_batch", "ids": [7]}, "1 to 50"),
        ({"action": "retrieve_batch", "created_at_min": "1"}, "created_at_min"),
        ({"action": "retrieve_batch", "limit": 0}, "limit"),
        ({"action": "retrieve_batch", "limit": 101}, "limit"),
        ({"action": "retrieve_batch", "offset": -1}, "offset"),
    ],
)
def test_question_that_is_none_is_refused_by_name(body: dict[str, object], why: str) -> None:
    with pytest.raises(Refused, match=why) as caught:
        read_wanted(body)
    assert caught.value.code == "bad_request"
