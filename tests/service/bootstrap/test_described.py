from __future__ import annotations

import orjson

from service.bootstrap.described import describe
from tests.service.api import witness


def test_it_is_what_a_service_at_that_address_serves() -> None:
    """`test_pages` holds the same against what is served."""
    assert orjson.loads(orjson.dumps(describe(witness.BASE), option=orjson.OPT_NON_STR_KEYS)) == witness.described()


def test_it_says_where_it_is_of() -> None:
    assert describe("http://127.0.0.1:8080")["servers"] == [{"url": "http://127.0.0.1:8080"}]
