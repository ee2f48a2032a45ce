from __future__ import annotations

import orjson
import pytest
from starlette.requests import Request

from service.api.call import Call, absent, listing, reply
from service.api.problems import Problem
from storage.records import ApiKey
from tests.service.api.house import House


def of(house: House, id: str) -> Call:
    key = ApiKey(id="key_1", project_id="prj_1", name="me", digest=b"", prefix="trk_", scopes=frozenset(), created_at=0)
    request = Request({"type": "http", "path_params": {"id": id}})
    return Call(context=house.context, request=request, key=key)


async def test_an_id_of_its_kind_is_taken(house: House) -> None:
    call = of(house, "ep_" + "0" * 26)
    assert (call.id("ep"), call.project_id) == ("ep_" + "0" * 26, "prj_1")


@pytest.mark.parametrize("id", ["", "ep_", "ep_" + "0" * 25, "EP_" + "0" * 26, "task_" + "0" * 26, "ep_" + "\0" * 26])
async def test_what_cannot_be_an_id_of_its_kind_is_not_there(house: House, id: str) -> None:
    with pytest.raises(Problem) as told:
        of(house, id).id("ep")
    assert (told.value.code, told.value.detail) == ("not_found", absent("ep").detail)


def test_a_list_has_one_shape() -> None:
    answer = reply(listing([1], has_more=True, next="x"), 200)
    assert orjson.loads(answer.body) == {"object": "list", "data": [1], "has_more": True, "next": "x"}
    assert answer.media_type == "application/json"
