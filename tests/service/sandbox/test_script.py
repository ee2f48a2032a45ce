from __future__ import annotations

import pytest

from service.sandbox.directives import UnknownDirective
from service.sandbox.script import BadScript, read_script


def test_steps_are_used_up_in_order_and_only_by_their_contract() -> None:
    script = read_script(
        {"queries": [{"directive": "garbage", "contract": "ulazai"}, {"directive": "status=500", "times": 2}]}
    )
    taken = [script.take("queries", name) for name in ("cloudsway", "ulazai", "cloudsway", "cloudsway")]
    assert taken == ["status=500", "garbage", "status=500", ""]


def test_creates_and_queries_have_their_own_steps() -> None:
    script = read_script({"creates": [{"directive": "hang"}]})
    assert script.take("queries", "cloudsway") == ""
    assert script.take("creates", "cloudsway") == "hang"


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ([], "a script is an object"),
        ({"submits": []}, "a script is an object"),
        ({"creates": {}}, "/creates"),
        ({"creates": [{"directive": "hang", "often": 1}]}, "/creates/0"),
        ({"creates": [{"directive": 5}]}, "/creates/0/directive"),
        ({"queries": [{"directive": "hang", "times": True}]}, "/queries/0/times"),
        ({"queries": [{"directive": "hang", "times": 0}]}, "/queries/0/times"),
        ({"queries": [{"directive": "hang", "contract": 1}]}, "/queries/0/contract"),
    ],
)
def test_bad_script_is_refused_and_says_where(text: object, pointer: str) -> None:
    with pytest.raises(BadScript, match=pointer):
        read_script(text)


def test_misspelt_directive_is_refused_when_the_script_is_set() -> None:
    with pytest.raises(UnknownDirective, match="hangs"):
        read_script({"creates": [{"directive": "hangs"}]})
