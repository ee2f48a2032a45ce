"""/docs in a real Chromium: it shows every operation, one can be tried, and its policy has nothing to refuse."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.browser.chromium import Page, browser
from tests.e2e.stack import Stack, installation
from tests.service.api import witness

pytestmark = pytest.mark.slow

WHOAMI = "#operations-Projects_and_keys-whoami"


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with installation(tmp_path) as made:
        await made.start()
        yield made


@pytest.fixture
async def page(stack: Stack) -> AsyncIterator[Page]:
    async with browser() as opened:
        await opened.open(f"{stack.url}/docs")
        yield opened


async def test_every_operation_is_shown_and_one_can_be_tried_with_a_key(stack: Stack, page: Page) -> None:
    await page.shown(WHOAMI)
    shown = await page.run("[...document.querySelectorAll('.opblock-summary-path')].map(one => one.dataset.path)")
    described = [path for path, methods in witness.described()["paths"].items() for _ in methods]
    assert sorted(shown[: len(described)]) == sorted(described)

    await page.click(".btn.authorize")
    await page.type(".auth-container input", stack.key)
    await page.click(".auth-btn-wrapper .authorize")
    await page.click(".auth-btn-wrapper .btn-done")
    await page.click(f"{WHOAMI} .opblock-summary-control")
    await page.click(f"{WHOAMI} .try-out__btn")
    await page.click(f"{WHOAMI} .execute")
    assert (await page.text(f"{WHOAMI} .live-responses-table tbody .response-col_status")).startswith("200")
    assert '"key"' in await page.text(f"{WHOAMI} .live-responses-table tbody .response-col_description")

    assert page.said == []
    assert {url for url in page.asked if not url.startswith(("data:", f"{stack.url}/"))} == set()
    assert {f"{stack.url}/openapi.json", f"{stack.url}/v1/whoami"} <= set(page.asked)


async def test_what_the_policy_refuses_would_be_seen(stack: Stack, page: Page) -> None:
    await page.shown(WHOAMI)
    await page.run("document.body.insertAdjacentHTML('beforeend', '<img src=\"https://elsewhere.example/x.png\">')")
    await page.run("fetch('https://elsewhere.example/').catch(() => null)")
    await page.run("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">x</p>')")
    await page.until(lambda: len([line for line in page.said if "Content Security Policy" in line]) >= 3)
