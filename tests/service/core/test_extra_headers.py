from __future__ import annotations

import pytest

from service.core.delivery import headers_for
from service.core.extra_headers import fault


@pytest.mark.parametrize(
    "name",
    [
        "Host", "content-length", "Transfer-Encoding", "connection", "EXPECT", "accept-encoding", "user-agent", "content-type",
        "webhook-id", "Webhook-Signature", "webhook-anything", "proxy-authorization", "taskrelay-attempt", "te", "upgrade",
        "x-forwarded-for", "content-encoding", "traceparent", "Tracestate", "baggage",
        "Forwarded", "via", "X-Real-IP", "X-HTTP-Method-Override", "x-http-method", "X-Method-Override",
    ],
)  # fmt: skip
def test_what_frames_signs_or_names_the_message_is_not_for_others_to_set(name: str) -> None:
    assert "set by taskrelay" in (fault(name, "x") or "")


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "é", "a" * 101, "a\0"])
def test_a_name_is_a_token(name: str) -> None:
    assert "no header name" in (fault(name, "x") or "")


@pytest.mark.parametrize("value", ["", " x", "x ", "a\r\nb: c", "a\0b", "é", "x" * 2001, 5, None, ["x"]])
def test_a_value_is_one_line_of_visible_text(value: object) -> None:
    assert fault("x-api-key", value) is not None


@pytest.mark.parametrize(
    ("name", "value"), [("Authorization", "Bearer abc"), ("X-Api-Key", "k"), ("cookie", 'a="b c"; d'), ("x-a", "a\tb")]
)
def test_a_receivers_own_credentials_are_welcome(name: str, value: str) -> None:
    assert fault(name, value) is None


def test_every_header_of_ours_is_refused_to_others() -> None:
    ours = headers_for("evt_1", 1, "v1,x", 1, "task.failed", "taskrelay/0")
    assert [name for name in ours if fault(name, "x") is None] == []
