from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from service.api.app import Api, create_app
from service.api.openapi import pages
from tests.service.api import witness
from tests.service.api.house import House

# swagger-ui-dist 5.35.0 as npm gives it, byte for byte, save what is ours.
VENDORED = {
    "swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
    "swagger-ui.css": "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
    "favicon-32x32.png": "3ed612f41e050ca5e7000cad6f1cbe7e7da39f65fca99c02e99e6591056e5837",
    "LICENSE": "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
    "NOTICE": "0d20d1adef18aee3f40dd258172155521ce702ac445cb5f7b7d60ed32dad2fb2",
    "swagger-ui-bundle.js.LICENSE.txt": "37eb6e7e59aed57b2c1acf076574b818ea07b74265717e0bd67b59e0baf9abbb",
}


@pytest.fixture
async def nobody(house: House, app: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with house.client(app, "") as client:
        yield client


async def test_the_document_needs_no_key_and_is_sent_once(nobody: httpx.AsyncClient) -> None:
    first = await nobody.get("/openapi.json")
    assert (first.status_code, first.json()) == (200, witness.described())
    again = await nobody.get("/openapi.json", headers={"if-none-match": f'"x", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert (await nobody.get("/openapi.json", headers={"if-none-match": '"x"'})).content == first.content


async def test_the_page_takes_nothing_from_elsewhere_and_runs_nothing_that_stands_in_it(
    nobody: httpx.AsyncClient,
) -> None:
    page = await nobody.get("/docs")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert re.findall(r"(?:src|href)=\"((?:https?:)?//[^\"]*)", page.text) == []
    assert re.findall(r"<script(?![^>]*\bsrc=)|\bon\w+=|<style|\bstyle=", page.text) == []
    assert "{" not in page.text  # every name was filled in


async def test_everything_the_page_names_is_there_and_kept_for_good(nobody: httpx.AsyncClient) -> None:
    named = re.findall(r"(?:src|href)=\"(docs/assets/[^\"]+)\"", (await nobody.get("/docs")).text)
    assert len(named) == len(pages.SERVED)
    for path in named:
        found = await nobody.get(f"/{path}")
        assert found.status_code == 200 and "immutable" in found.headers["cache-control"]
        assert hashlib.sha256(found.content).hexdigest()[:12] in path


@pytest.mark.parametrize("name", ["start.js", "LICENSE", "..%2fpages.py", "x", "%00"])
async def test_a_file_under_any_other_name_is_not_there(nobody: httpx.AsyncClient, name: str) -> None:
    assert (await nobody.get(f"/docs/assets/{name}")).json()["code"] == "not_found"


def test_what_is_vendored_is_what_was_published_and_has_its_licence() -> None:
    found = {file: hashlib.sha256((pages.FOLDER / file).read_bytes()).hexdigest() for file in VENDORED}
    assert found == VENDORED
    assert {path.name for path in pages.FOLDER.iterdir()} == {*VENDORED, "start.js"}


async def test_switched_off_there_is_neither_document_nor_page_and_errors_still_lead_somewhere(house: House) -> None:
    off = create_app(replace(house.context, docs=False))
    async with house.client(off, "") as client:
        client.event_hooks = {}  # these two are not as described
        assert [(await client.get(path)).status_code for path in ("/openapi.json", "/docs")] == [404, 404]
        assert (await client.get("/docs/problems")).status_code == 200
        assert "docs" not in (await client.get("/")).json()
