"""What the pages for operators say of deploy/ and of the database is so."""

from __future__ import annotations

import re

import pytest

from storage.migrate import TIMEOUTS
from storage.postgres import READERS
from tests.deploy.files import DEPLOY
from tests.docs import pages
from tests.test_readme import LINK, NAMED


@pytest.mark.parametrize("page", NAMED)
def test_every_file_of_deploy_that_a_page_names_is_there(page: str) -> None:
    named = set(re.findall(r"\bdeploy/([\w.-]*\w)", NAMED[page]))
    made = {"service.env", "secrets"}  # by whoever deploys
    assert {name for name in named - made if not (DEPLOY / name).exists()} == set()


def test_every_file_of_deploy_is_explained_and_every_link_leads_somewhere() -> None:
    links = set(LINK.findall((DEPLOY / "README.md").read_text(encoding="utf-8")))
    unnamed = {path.name for path in DEPLOY.iterdir() if path.is_file()} - links
    assert unnamed - {"service.env"} == {"README.md"}  # which an operator may have there
    assert [link for link in links if not (DEPLOY / link).exists()] == []


def test_nobody_has_to_type_anything_into_the_database() -> None:
    assert list(pages.blocks("docs/runbook.md", "sql")) == []


def test_every_entry_of_the_run_book_has_a_sign_a_command_and_what_is_normal() -> None:
    text = pages.text("docs/runbook.md")
    for title in re.findall(r"^## (.+)$", text, re.MULTILINE):
        said = pages.section("docs/runbook.md", title)
        assert "ormal" in said or title in ("Roll back",), title
        planned = ("Upgrade", "Roll back", "Rotate keys")
        assert "*Sign*" in said or title in planned, title


def test_the_figures_of_scaling_are_those_of_the_code() -> None:
    text = pages.text("docs/scaling.md")
    assert f"at most {READERS + 2}" in text  # one writes, one listens
    assert all(f"`{name}={value}`" in text for name, value in TIMEOUTS.items())
