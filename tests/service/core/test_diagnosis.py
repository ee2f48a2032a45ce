"""Each usual mistake is named, and nothing that may arrive makes the diagnosis fail."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core import signature
from service.core.diagnosis import diagnose
from service.core.formats import render
from storage.records import EndpointFormat
from tests.service.core.received import AT, BODY, ID, OTHER, SECOND, SECRET, SIGNER, VALUE, evidence, headers, signed_by


def verdict(**more: object) -> str:
    found = diagnose(evidence(**more))
    assert found.ok is (found.verdict == "ok") and (found.ok or (found.text and found.fix))
    for secret in (SECRET, OTHER):
        assert secret[6:] not in found.text + found.fix
    return found.verdict


def words(**more: object) -> str:
    return diagnose(evidence(**more)).text


def test_what_verifies_is_said_to() -> None:
    assert verdict() == "ok"
    assert verdict(headers=headers(signature=signed_by(None, SIGNER)), secrets=[SIGNER.public_text]) == "ok"


REENCODED = {
    "other spaces between members": json.dumps(VALUE, ensure_ascii=False),
    "escaped as \\uXXXX": json.dumps(VALUE, separators=(",", ":")),
    "pretty-printed": json.dumps(VALUE, indent=2, ensure_ascii=False),
    "members in another order": json.dumps(VALUE, sort_keys=True, ensure_ascii=False),
    "slashes escaped": BODY.decode().replace("/", "\\/"),
    "pretty-printed, characters escaped": json.dumps(VALUE, indent=4),
    "white space or line breaks around it": BODY.decode() + "\n",
    "line breaks around": BODY.decode() + "\r\n",
    "byte order mark": "\ufeff" + BODY.decode(),
}


@pytest.mark.parametrize("told", REENCODED)
def test_a_body_that_was_written_anew_is_recognised_and_how_is_said(told: str) -> None:
    found = diagnose(evidence(body=REENCODED[told].encode()))
    assert (found.verdict, told in found.text) == ("reencoded_body", True), found.text
    assert "your framework parsed it first" in found.text and "raw bytes" in found.fix


def test_line_ends_that_were_changed_are_recognised() -> None:
    body = b'{\n"id": "evt_01M7"\n}'
    found = diagnose(evidence(body=body.replace(b"\n", b"\r\n"), headers=headers(signature=signed_by(body=body))))
    assert (found.verdict, "CRLF" in found.text) == ("reencoded_body", True)


def test_a_body_in_another_order_is_recognised_also_where_the_order_was_ours_to_know() -> None:
    metadata = {**VALUE["data"], "metadata": {"b": "1", "a": "2"}}
    original = json.dumps({**VALUE, "data": metadata}, separators=(",", ":"), ensure_ascii=False).encode()
    found = evidence(
        body=json.dumps(json.loads(original), sort_keys=True).encode(),
        headers=headers(signature=signed_by(body=original)),
    )
    assert diagnose(found).verdict == "reencoded_body"
    assert "alphabetical" in diagnose(found).text
    known = evidence(body=found.body, headers=found.headers, sent={"standard": original})
    assert "members in another order" in diagnose(known).text


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (BODY.replace(b'"succeeded"', b'"failed"'), "says something else at /data/status"),
        (BODY[:-10], "is cut off after"),
        (b"", "is empty"),
        (b"\x00" + BODY[1:], "differs from byte 0"),
    ],
)
def test_with_the_sent_bytes_at_hand_the_difference_is_said(body: bytes, told: str) -> None:
    found = diagnose(evidence(body=body, sent={"standard": BODY}))
    assert (found.verdict, told in found.text) == ("changed_body", True), found.text


def test_the_format_that_was_sent_is_found_among_all() -> None:
    made = {format.value: render(format, BODY) for format in EndpointFormat}
    sent = made["cloudevents"]
    found = evidence(
        body=json.dumps(json.loads(sent)).encode(), headers=headers(signature=signed_by(body=sent)), sent=made
    )
    assert diagnose(found).verdict == "reencoded_body"


def test_a_wrong_secret_is_told_from_an_older_one() -> None:
    assert verdict(secrets=[OTHER]) == "mismatch"
    assert verdict(secrets=[OTHER, SECRET]) == "older_secret"
    assert verdict(secrets=[OTHER], endpoint=[SECRET]) == "wrong_secret"
    assert verdict(secrets=[OTHER], sent={"standard": BODY}) == "wrong_secret"


@pytest.mark.parametrize(
    ("secret", "told"),
    [
        (base64.b64encode(SECRET.encode()).decode(), "Kubernetes"),
        (signature.decode_secret(SECRET).hex(), "hexadecimal"),
        (f'"{SECRET}"', "quotation marks"),
    ],
)
def test_the_right_secret_in_a_wrong_form_is_recognised(secret: str, told: str) -> None:
    found = diagnose(evidence(secrets=[secret]))
    assert (found.verdict, told in found.text) == ("misread_secret", True), found.text


@pytest.mark.parametrize(
    ("key", "told"),
    [
        (SECRET.encode(), "whole text"),
        (SECRET[6:].encode(), "without decoding"),
        (base64.b64decode(base64.b64decode(base64.b64encode(b"k" * 24))[:24] + b""), "twice"),
    ],
)
def test_a_signer_that_misread_the_secret_is_recognised(key: bytes, told: str) -> None:
    secret = SECRET
    if told == "twice":
        key, secret = b"k" * 24, "whsec_" + base64.b64encode(base64.b64encode(b"k" * 24)).decode()
    found = diagnose(evidence(secrets=[secret], headers=headers(signature=signature.sign([key], ID, AT, BODY))))
    assert (found.verdict, told in found.text) == ("misread_secret", True), found.text


@pytest.mark.parametrize(
    "secret", ["", "   ", "trk_" + "a" * 32, SIGNER.private_text, "whpk_x", "whsec_***", "whsec_AAAA"]
)
def test_what_is_no_secret_is_said_to_be_none(secret: str) -> None:
    assert verdict(secrets=[secret]) == "bad_secret"


def test_a_secret_of_the_other_version_is_recognised() -> None:
    assert verdict(secrets=[SIGNER.public_text]) == "wrong_scheme"
    assert verdict(headers=headers(signature=signed_by(None, SIGNER))) == "wrong_scheme"


@pytest.mark.parametrize(("late", "expected"), [(300, "ok"), (301, "too_old"), (-300, "ok"), (-301, "too_new")])
def test_a_clock_that_is_off_is_told_with_how_far(late: int, expected: str) -> None:
    assert verdict(now=(AT + late) * SECOND) == expected
    assert verdict(now=(AT + late) * SECOND, tolerance_seconds=301) == "ok"
    if expected != "ok":
        assert "5 min 1 s" in words(now=(AT + late) * SECOND)
        assert "NTP" in diagnose(evidence(now=(AT + late) * SECOND)).fix


def test_headers_of_two_attempts_are_recognised() -> None:
    assert verdict(headers=headers(timestamp=str(AT + 5))) == "other_attempt"
    assert "5 s later" in words(headers=headers(timestamp=str(AT + 5)))
    far = headers(timestamp=str(AT + 18_000))
    assert verdict(headers=far) == "mismatch"
    assert verdict(headers=far, attempts_at=[AT * SECOND + 17, (AT + 18_000) * SECOND]) == "other_attempt"


def test_the_id_of_something_else_is_recognised() -> None:
    assert verdict(headers=headers(id="dlv_01M7")) == "other_id"
    assert ID in words(headers=headers(id="dlv_01M7"))


ANY = st.one_of(st.text(max_size=40), st.sampled_from([ID, str(AT), signed_by(), "v1,", f"v1 {signed_by()}"]))


@given(
    st.lists(
        st.tuples(st.sampled_from(["webhook-id", "Webhook-Timestamp", "webhook-signature", "x"]), ANY), max_size=6
    ),
    st.one_of(st.binary(max_size=60), st.just(BODY)),
    st.lists(st.one_of(st.text(max_size=60), st.just(SIGNER.public_text)), max_size=3),
    st.integers(0, 10**18),
)
def test_whatever_was_received_there_is_a_verdict(
    given_headers: list[tuple[str, str]], body: bytes, secrets: list[str], now: int
) -> None:
    assert verdict(headers=given_headers, body=body, secrets=secrets, now=now) != "ok"
