"""The example of an environment file: complete, as the model says, and every line of it can be used."""

from __future__ import annotations

import re
import secrets
import shlex
from pathlib import Path

from service.settings import gather, shape
from service.settings.example import ACCOUNT, example

ROOT = Path(__file__).parent.parent.parent.parent


def said() -> dict[str, str]:
    """Every variable of the example with its value, commented out or not."""
    lines = re.findall(r"^#?(TASKRELAY_[A-Z_]+=.*)$", example(), re.MULTILINE)
    return dict(shlex.split(line)[0].split("=", 1) for line in lines)


def test_the_file_beside_the_service_is_what_the_settings_give() -> None:
    assert (ROOT / "deploy/service.env.example").read_text(encoding="utf-8") == example(), "make example"


def test_every_setting_is_in_it_with_its_meaning() -> None:
    known = {leaf.variable.replace("<NAME>", ACCOUNT): leaf for leaf in shape.leaves().values()}
    assert {name.removesuffix(shape.FILE) if shape.path_of(name) else name for name in said()} == set(known)
    missing = [name for name, leaf in known.items() if f"# {leaf.field.description}\n#{name}" not in example()]
    assert missing == []


def test_no_secret_has_a_line_that_would_hold_it() -> None:
    secret = {leaf.variable.replace("<NAME>", ACCOUNT) for leaf in shape.leaves().values() if leaf.secret}
    assert secret & set(said()) == {"TASKRELAY_DATABASE_URL"}  # which holds one only where there is a password


def test_every_line_can_be_taken_out_of_its_comment(tmp_path: Path) -> None:
    given = said() | {"TASKRELAY_UNSAFE_TIMING": "true"}  # the next to last line lets the last one be said
    del given["TASKRELAY_DATABASE_URL_FILE"]
    for name in [name for name in given if name.endswith(shape.FILE)]:
        file = tmp_path / Path(given[name]).name
        file.write_text(secrets.token_urlsafe(48) + "\n", encoding="ascii")
        given[name] = str(file)
    found = gather(given)
    assert found.problems == ()
    assert found.settings is not None and found.settings.accounts["cloudsway"].unit_price is not None


def test_a_value_that_a_shell_would_tear_is_quoted() -> None:
    lines = re.findall(r"^#?TASKRELAY_[A-Z_]+=(.*)$", example(), re.MULTILINE)
    assert '"0.01 USD"' in lines
    assert [line for line in lines if " " in line and not line.startswith('"')] == []
