"""`verify` reads what was kept however it was kept, says one verdict with its exit code, and shows no secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli.app import app
from service.cli.terminal import Stop
from service.core.times import iso
from tests.service.cli.inside import Said
from tests.service.core.received import AT, BODY, OTHER, SECOND, SECRET, SIGNER, VALUE, headers, signed_by

HEADERS = [part for name, value in headers() for part in ("-H", f"{name}: {value}")]
THEN = ("--at", str(AT + 1))


def said(*arguments: str, stdin: bytes = b"", env: Mapping[str, str | None] | None = None) -> Said:
    ended = CliRunner().invoke(
        app, ["verify", *arguments], input=stdin, env=env or {"TASKRELAY_WEBHOOK_SECRET": SECRET}
    )
    shown = ended.stdout + ended.stderr + (ended.exception.text if isinstance(ended.exception, Stop) else "")
    for secret in (SECRET, OTHER):
        assert secret[6:] not in shown
    if isinstance(ended.exception, Stop):
        return Said(ended.exception.code, ended.stdout, ended.exception.text)
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return Said(ended.exit_code, ended.stdout, ended.stderr)


def dumped(body: bytes = BODY, **changed: str) -> bytes:
    lines = [f"{name}: {value}" for name, value in headers(**changed)]
    return "\r\n".join(["POST /hook HTTP/1.1", "Host: app.test", *lines, "", ""]).encode() + body


def test_what_verifies_ends_with_0(tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(BODY)
    ended = said(str(tmp_path / "body"), *HEADERS, *THEN)
    assert (ended.code, ended.out) == (0, "ok: The signature matches.\n")
    assert said(*HEADERS, *THEN, stdin=BODY).code == 0
    assert said("-", *HEADERS, "--at", iso(AT * SECOND), stdin=BODY).code == 0
    assert said("--request", "-", *THEN, stdin=dumped()).code == 0


def test_a_reencoded_body_ends_with_1_and_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "request.txt").write_bytes(dumped(json.dumps(VALUE, indent=2).encode()))
    ended = said("--request", str(tmp_path / "request.txt"), *THEN)
    assert ended.code == 1
    verdict, fix = ended.out.splitlines()
    assert verdict.startswith("reencoded_body: The signature does not match, but matches the body re-encoded")
    assert "pretty-printed" in verdict and "raw bytes" in fix


def test_a_program_gets_one_document(tmp_path: Path) -> None:
    ended = said(*HEADERS, *THEN, "--json", stdin=BODY + b"\n")
    assert ended.code == 1
    told = json.loads(ended.out)
    assert (told["ok"], told["verdict"], len(told["findings"])) == (False, "reencoded_body", 1)
    fine = json.loads(said(*HEADERS, *THEN, "--json", stdin=BODY).out)
    assert (fine["ok"], fine["verdict"], fine["notes"]) == (True, "ok", [])


def test_secrets_come_from_the_variable_a_file_or_the_line(tmp_path: Path) -> None:
    file = tmp_path / "secrets"
    file.write_text(f"{OTHER}\n\n{SECRET}\n", encoding="utf-8")
    older = said(*HEADERS, *THEN, "--secret-file", str(file), stdin=BODY, env={"TASKRELAY_WEBHOOK_SECRET": None})
    assert (older.code, older.out.split(":")[0]) == (1, "older_secret")
    assert said(*HEADERS, *THEN, "--secret", SECRET, stdin=BODY, env={"TASKRELAY_WEBHOOK_SECRET": OTHER}).code == 0
    both = said(*HEADERS, *THEN, stdin=BODY, env={"TASKRELAY_WEBHOOK_SECRET": f"{OTHER} {SECRET}"})
    assert both.out.startswith("older_secret")
    unsaid = said(*HEADERS, *THEN, stdin=BODY, env={"TASKRELAY_WEBHOOK_SECRET": None})
    assert unsaid.code == 2 and "--secret-file" in unsaid.err


def test_a_public_key_verifies_v1a() -> None:
    signed = [*HEADERS[:4], "-H", f"webhook-signature: {signed_by(None, SIGNER)}"]
    assert said(*signed, *THEN, "--secret", SIGNER.public_text, stdin=BODY).code == 0


def test_now_is_when_it_is_judged_by_default_and_the_tolerance_is_ones_own() -> None:
    old = said(*HEADERS, "--at", str(AT + 301), stdin=BODY)
    assert old.code == 1 and "5 min 1 s old" in old.out and "NTP" in old.out
    assert said(*HEADERS, "--at", str(AT + 301), "--tolerance", "301", stdin=BODY).code == 0
    assert said(*HEADERS, stdin=BODY).out.startswith(("too_old", "too_new"))


def test_what_the_receivers_code_arrived_at_is_explained() -> None:
    wrong = said(*HEADERS, *THEN, "--computed", "00" * 32, stdin=BODY)
    assert wrong.code == 1 and wrong.out.splitlines()[0].startswith("ok:") and "receiver:" in wrong.out
    right = signed_by().removeprefix("v1,")
    assert said(*HEADERS, *THEN, "--computed", right, stdin=BODY).code == 0
    told = json.loads(said(*HEADERS, *THEN, "--computed", "00" * 32, "--json", stdin=BODY).out)
    assert (told["ok"], told["verdict"]) == (False, "receiver")


def test_what_the_file_itself_disagrees_about_is_noted() -> None:
    whole = dumped().replace(b"Host:", b"Content-Length: %d\r\nHost:" % len(BODY)) + b"\n"
    ended = said("--request", "-", *THEN, stdin=whole)
    assert ended.code == 0 and ended.out.startswith("note: the file holds 1 bytes more")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "say which headers came"),
        (("body", "--request", "x"), "not both"),
        (("/nowhere/at/all", *HEADERS), "cannot be read"),
        (("--request", "/nowhere"), "cannot be read"),
        (("-H", "nonsense"), "is no header"),
        ((*HEADERS, "--at", "tomorrow"), "--at is an instant"),
        ((*HEADERS, "--delivery", "evt_1", "--url", "http://127.0.0.1:9"), "no id of this kind"),
    ],
)
def test_a_wrong_line_ends_with_2_and_the_right_form(arguments: tuple[str, ...], told: str) -> None:
    ended = said(*arguments, stdin=BODY)
    assert (ended.code, told in ended.err) == (2, True), ended.err


def test_more_than_any_event_is_not_read() -> None:
    ended = said(*HEADERS, stdin=b"x" * (2 * 1024 * 1024 + 1))
    assert ended.code == 2 and "larger than 2 MiB" in ended.err
