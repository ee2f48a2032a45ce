"""Every page can be found, and every link leads somewhere, from pages that other tests do not read too."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import FENCE, ROOT, text
from tests.test_readme import LINK, anchors

INDEX = "docs/README.md"
PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").rglob("*.md")])
]


def test_the_index_names_every_page() -> None:
    named = {(ROOT / "docs" / link.partition("#")[0]).resolve() for link in LINK.findall(text(INDEX))}
    pages = {ROOT / page for page in PAGES if page.startswith("docs/") and "/decisions/0" not in page} - {ROOT / INDEX}
    assert sorted(str(page.relative_to(ROOT)) for page in pages - named) == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for link in LINK.findall(FENCE.sub("", text(page))):
        if re.match("https?://|mailto:", link):
            continue
        file, _, anchor = link.partition("#")
        target = ((ROOT / page).parent / file).resolve() if file else ROOT / page
        assert target.exists(), f"{page} links to {link}"
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), f"{page} links to {link}"


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_code_is_closed(page: str) -> None:
    assert re.search("^```", FENCE.sub("", text(page)), re.MULTILINE) is None
