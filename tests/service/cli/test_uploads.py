from __future__ import annotations

import base64
from pathlib import Path

from tests.service.cli.conftest import Relay
from tests.service.cli.inside import said, said_json

DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def test_an_image_gets_a_url_of_the_provider_that_will_use_it(relay: Relay, tmp_path: Path) -> None:
    image = tmp_path / "dot.png"
    image.write_bytes(DOT)
    made = said_json(relay, "uploads", "create", str(image), "-p", "ulazai")
    assert (made["type"], made["account"]) == ("image/png", "ulazai")
    shown = said(relay, "uploads", "create", str(image), "--account", "ulazai").out.splitlines()
    assert shown[0].startswith("http") and shown[1] == f"  image/png, 1 by 1, {len(DOT)} bytes, at ulazai"


def test_what_is_no_image_and_what_is_not_there_are_refused(relay: Relay, tmp_path: Path) -> None:
    text = tmp_path / "a.png"
    text.write_text("no image")
    ended = said(relay, "uploads", "create", str(text), "-p", "ulazai")
    assert ended.code == 1 and ended.err.startswith("415 ")
    missing = said(relay, "uploads", "create", str(tmp_path / "none.png"), "-p", "ulazai")
    assert missing.code == 2 and missing.err.endswith("none.png cannot be read: No such file or directory")


def test_a_file_that_no_provider_takes_is_not_even_sent(tmp_path: Path) -> None:
    huge = tmp_path / "huge.png"
    with huge.open("wb") as file:
        file.truncate(33 * 1024 * 1024)
    ended = said(None, "uploads", "create", str(huge), "--url", "http://127.0.0.1:1")
    assert ended.code == 2 and "larger than 32 MiB" in ended.err
