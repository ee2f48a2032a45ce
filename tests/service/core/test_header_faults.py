"""Headers that are gone, there twice or changed are told apart, and what fits once mended is said."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from urllib.parse import quote

import pytest

from service.core.diagnosis import diagnose
from service.core.evidence import Diagnosis
from tests.service.core.received import AT, OTHER, SECRET, evidence, headers, signed_by


def found(*given: tuple[str, str], secrets: tuple[str, ...] = (SECRET,)) -> Diagnosis:
    return diagnose(evidence(headers=given, secrets=secrets))


def test_a_missing_header_is_named() -> None:
    told = found(*headers()[:1], ("content-type", "application/json"))
    assert told.verdict == "missing_header"
    assert told.text == "webhook-timestamp, webhook-signature are missing."
    assert found().text == "webhook-id, webhook-timestamp, webhook-signature are missing."


@pytest.mark.parametrize("name", ["HTTP_WEBHOOK_ID", "webhook_id", "X-Webhook-Id", "HTTP-WEBHOOK-ID"])
def test_a_header_that_was_renamed_is_recognised(name: str) -> None:
    told = found((name, "evt_01M7"), *headers()[1:])
    assert (told.verdict, name in told.fix) == ("missing_header", True)


def test_of_a_header_that_comes_twice_it_is_said_which_is_ours() -> None:
    told = found(*headers()[:2], ("webhook-signature", "v1,AAAA"), headers()[2])
    assert told.verdict == "duplicate_header" and "Number 2 is ours" in told.text
    assert "is ours" not in found(*headers(), ("webhook-signature", "v1,AAAA"), secrets=(OTHER,)).text
    assert found(*headers(), *headers()).ok  # the same value twice is harmless


MANGLED = {
    "in milliseconds": ("timestamp", f"{AT}123"),
    "has a fraction": ("timestamp", f"{AT}.25"),
    "written as a date": ("timestamp", datetime.fromtimestamp(AT, UTC).isoformat().replace("+00:00", "Z")),
    "percent-encoded": ("signature", quote(signed_by(), safe="")),
    "joined by something else": ("signature", f"{signed_by(OTHER)},{signed_by()}"),
    "lost its v1,": ("signature", signed_by().removeprefix("v1,")),
    "= behind v1": ("signature", signed_by().replace("v1,", "v1=")),
    "in capitals": ("signature", signed_by().replace("v1,", "V1,")),
    "in hexadecimal": ("signature", "v1," + base64.b64decode(signed_by()[3:]).hex()),
    "quotation marks": ("id", '"evt_01M7"'),
}


@pytest.mark.parametrize("told", MANGLED)
def test_a_header_that_fits_once_it_is_mended_is_told_with_what_mends_it(told: str) -> None:
    name, value = MANGLED[told]
    judged = found(*headers(**{name: value}))
    assert (judged.verdict, told in judged.text) == ("malformed_header", True), judged.text


def test_plus_signs_that_a_form_decoder_ate_are_put_back() -> None:
    at = next(at for at in range(AT, AT + 100) if "+" in signed_by(at=at)[3:])
    judged = found(*headers(timestamp=str(at), signature=signed_by(at=at).replace("+", " ")))
    assert "spaces where + was" in judged.text
    assert judged.verdict == "malformed_header"


def test_the_urlsafe_alphabet_is_recognised() -> None:
    at = next(at for at in range(AT, AT + 100) if "+" in signed_by(at=at)[3:])
    text = signed_by(at=at).replace("+", "-").replace("/", "_")
    assert "URL-safe" in found(*headers(timestamp=str(at), signature=text)).text


def test_what_nothing_mends_is_said_to_be_unreadable() -> None:
    assert found(*headers(timestamp="tomorrow")).text == "webhook-timestamp cannot be read."
    assert found(*headers(id="a.b")).text == "webhook-id cannot be read."
    told = found(*headers(signature="v1,nonsense"))
    assert (told.verdict, told.text) == ("malformed_header", "webhook-signature cannot be read.")
