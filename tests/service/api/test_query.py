from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from service.api.query import POSITION, Query, cursor, position_cursor
from service.core.request import Invalid


def query(text: str, *known: str) -> Query:
    return Query(Request({"type": "http", "query_string": text.encode("latin-1")}), known, groups=("metadata.",))


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("limit=0", "/limit"),
        ("limit=201", "/limit"),
        ("limit=x", "/limit"),
        ("after=bm9wZQ", "/after"),
        ("after=%00", "/after"),
        ("status=done", "/status"),
        ("state=queued", "/state"),
        ("created_after=yesterday", "/created_after"),
        ("limit=1&limit=2", "/limit"),
        ("reference=%ff", ""),
        ("metadata.=x", "/metadata."),
        ("metadata.%00=x", "/metadata.\ufffd"),
        ("&".join(f"metadata.k{n}=1" for n in range(100)), ""),
    ],
)
async def test_a_bad_parameter_is_refused_by_name(client: httpx.AsyncClient, query: str, place: str) -> None:
    answer = await client.get(f"/v1/tasks?{query}")
    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [place]


def test_a_cursor_stands_for_the_place_it_was_made_for_and_no_other() -> None:
    found = query(f"after={position_cursor(17)}", "after").cursor(POSITION)
    assert found is not None and found[1] == "17"
    other = query(f"after={cursor('task_' + '0' * 26)}", "after")
    assert other.cursor(POSITION) is None
    with pytest.raises(Invalid, match="no cursor of this list"):
        other.settle()


def test_several_words_are_each_one_of_the_set_or_a_group_of_it() -> None:
    words = ("a.b", "a.c", "d.e")

    def chosen(text: str) -> tuple[str, ...]:
        asked = query(f"type={text}", "type")
        found = asked.choices("type", words)
        asked.settle()
        return found

    assert chosen("d.e,a.b,d.e") == ("d.e", "a.b")
    assert (chosen("a.*"), chosen("*"), query("", "type").choices("type", words)) == (("a.b", "a.c"), words, ())
    for wrong in ("", "a", "a.b,", "x.*", "a.b,a.d"):
        with pytest.raises(Invalid, match="There is no type"):
            chosen(wrong)


def test_a_group_takes_any_name_behind_its_prefix() -> None:
    asked = query("metadata.order=8841&metadata.a.b=c%20d")
    asked.settle()
    assert asked.group("metadata.") == {"order": "8841", "a.b": "c d"}


def test_an_unknown_name_is_met_with_the_right_one() -> None:
    with pytest.raises(Invalid, match="Did you mean limit"):
        query("limt=5", "limit", "after").settle()


@given(raw=st.text(st.characters(max_codepoint=255), max_size=200))
def test_any_query_string_is_read_or_refused(raw: str) -> None:
    asked = query(raw, "limit", "after", "wait")
    assert 1 <= asked.limit() <= 200
    asked.cursor(POSITION)
    asked.instant("wait")
    try:
        asked.settle()
    except Invalid as refused:
        assert all(fault.detail.isprintable() and fault.pointer.isprintable() for fault in refused.faults)
