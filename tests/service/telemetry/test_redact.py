"""Secrets do not survive, in whatever form they come; what is harmless does."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.telemetry import redact

CANARY = "c4n4ryC4N4RY0123456789"


@pytest.mark.parametrize(
    "text",
    [
        f"secret whsec_{CANARY}+/= kept",
        f"whsk_{CANARY}",
        f"Authorization: Bearer {CANARY}",
        f"authorization: basic {CANARY}",
        f"{{'authorization': 'Bearer {CANARY}', 'accept': '*/*'}}",
        f'{{"api_key": "{CANARY}"}}',
        f'{{\\"api_key\\": \\"{CANARY}\\"}}',
        f"x-api-key: {CANARY}",
        f"headers=[(b'x-api-key', b'x'), (b'cookie: {CANARY}')]",
        f"password={CANARY} host=db",
        f"POST /callbacks/cloudsway/{CANARY} 200",
        f"https://relay.example.com/callbacks/ulazai/{CANARY}.sub_1-x",
        f"GET /o/{CANARY}",
        f"postgresql://relay:{CANARY}@db/name",
        f"https://{CANARY}@host/x",
        f"postgresql://relay:pa/{CANARY}@db/name",
        f"postgresql://relay:pa?{CANARY}@db/name",
        f"postgresql://relay:{CANARY}?x@db/name",
        f"/proxy/https://relay:{CANARY}@db/name",
        f"/proxy?to=https://relay:{CANARY}@db/name",
        f"https://cdn.example.com/v.mp4?X-Amz-Signature={CANARY}&x=1",
        f'"GET /v1/tasks?after={CANARY} HTTP/1.1"',
        f"/v1/tasks?key={CANARY}",
        f"URL('https://cdn.example.com/v.mp4?sig={CANARY}')",
    ],
)
def test_a_secret_does_not_survive(text: str) -> None:
    assert CANARY not in redact.text(text)
    assert redact.HIDDEN in redact.text(text)


@pytest.mark.parametrize(
    "text",
    [
        "task_01KABCDEF is processing; next: poll at 12:04:31, because cloudsway answered 503 five times",
        "GET https://api.example.com/v1/ai/videos 200",
        "whpk_publickeysMayBeSeen",
        "the bearer of bad news",
        "is it late? yes",
        "https://[2001:db8::1]:8443/a/b#c and http://127.0.0.1:80/",
        "token bucket empty, secretly",
    ],
)
def test_what_is_harmless_stays(text: str) -> None:
    shown = redact.text(text)
    assert shown == text or "bearer" in text


def test_values_are_hidden_by_name_and_by_form_at_any_depth() -> None:
    shown = redact.value(
        {
            "api_key": CANARY,
            "webhook_secret": [CANARY],
            "nested": [{"Authorization": CANARY}, (f"Bearer {CANARY}",), {f"whsec_{CANARY}"}],
            "body": CANARY.encode(),
            "error": ValueError(f"https://h/x?{CANARY}"),
            "task": "task_1",
            "count": 3,
            "secret": None,
        }
    )
    assert CANARY not in str(shown)
    assert isinstance(shown, dict)
    assert (shown["task"], shown["count"], shown["secret"], shown["body"]) == ("task_1", 3, None, "22 bytes")


def test_a_value_without_a_bottom_is_cut() -> None:
    endless: list[object] = []
    endless.append(endless)
    assert str(redact.value(endless)) == "[" * redact.DEEP + "'***'" + "]" * redact.DEEP


def test_a_long_text_is_cut_after_it_is_redacted() -> None:
    shown = redact.text("x" * 8180 + f" whsec_{CANARY * 500}")
    assert len(shown) < 8300
    assert "c4n4ry" not in shown


@given(st.text(st.characters(), max_size=200))
def test_nothing_visible_can_move_a_cursor_or_start_a_line(text: str) -> None:
    shown = redact.visible(text)
    assert len(shown.splitlines()) <= 1
    assert all(ord(letter) >= 0x20 and not 0x7F <= ord(letter) <= 0x9F for letter in shown)
    shown.encode()


@given(st.text(alphabet="a:/?@#=& \"'\\.whsec_BearerToken", max_size=300))
def test_redaction_is_total_and_settles(text: str) -> None:
    once = redact.text(text)
    assert redact.text(redact.text(once)) == redact.text(once)


@pytest.mark.parametrize("piece", ["a.-+", "://", "/callbacks/", "secret ", "https://a:", " /?", "bearer "])
def test_redaction_takes_time_in_proportion_to_length(piece: str) -> None:
    def seconds(times: int) -> float:
        began = time.process_time()
        redact.text(piece * times)
        return time.process_time() - began

    # Ten times the text: ten times the work, against a hundred for a pattern that backtracks.
    assert min(seconds(20_000) for _ in range(3)) < 40 * max(min(seconds(2_000) for _ in range(3)), 0.002)
