from __future__ import annotations

import json

import pytest

from service.api.problems import CODES
from service.net import refusals
from service.net.refusals import Refusal

EVERY = {name: one for name, one in vars(refusals).items() if isinstance(one, Refusal)}


@pytest.mark.parametrize("name", EVERY)
def test_each_is_a_whole_answer_that_ends_its_connection_and_a_problem_of_the_apis_list(name: str) -> None:
    refusal = EVERY[name]
    head, _, body = refusal.raw([(b"date", b"today")]).partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    told = json.loads(body)
    assert status.startswith(b"HTTP/1.1 %d " % refusal.status) and len(status) > 13
    assert {b"date: today", b"connection: close", b"content-length: %d" % len(body)} <= set(lines)
    assert told["code"] == refusal.code and told["status"] == refusal.status and told["code"] in CODES
    assert told["type"].endswith(f"#{told['code']}") and told["title"] and told["detail"]


def test_whoever_may_come_back_is_told_when() -> None:
    again = {name for name, one in EVERY.items() if any(header == b"retry-after" for header, _ in one.headers)}
    assert again == {"FULL", "CROWDED", "STOPPING"}
