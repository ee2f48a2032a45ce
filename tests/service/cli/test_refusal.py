from __future__ import annotations

import httpx
import pytest

from service.cli.refusal import advice, lines, refusal, unanswered, unreachable
from service.cli.terminal import FAILED


def test_every_fault_is_a_line_with_its_field_and_further_lines_stand_below_it() -> None:
    problem = {"errors": [{"pointer": "/model", "detail": "none"}, {"pointer": "/x", "detail": "one\n  two"}]}
    assert lines(problem, 422) == ["422 /model  none", "422 /x  one", "    two"]


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        ({"code": "gone", "detail": "It is."}, "410 gone  It is."),
        ({"title": "Gone"}, "410 refused  Gone"),
        ({"errors": "all of it", "code": "odd"}, "410 odd  it says no more"),
    ],
)
def test_what_names_no_field_is_a_line_with_its_code(problem: dict[str, object], line: str) -> None:
    assert lines(problem, 410) == [line]


def asked(status: int, **answer: object) -> httpx.Response:
    return httpx.Response(status, request=httpx.Request("GET", "http://relay.example/v1/x"), **answer)  # type: ignore[arg-type]


@pytest.mark.parametrize("answer", [{"text": "<h1>no</h1>"}, {"json": ["a"]}, {"json": {}}, {"text": "[" * 100_000}])
def test_something_else_that_answers_is_not_quoted_but_named(answer: dict[str, object]) -> None:
    text, code, facts = refusal(asked(502, **answer))
    assert (code, facts["status"]) == (FAILED, 502)
    assert text.startswith("502 Bad Gateway  from http://relay.example/v1/x, which may not be taskrelay. Check --url")


def test_where_something_sends_us_is_told() -> None:
    text, _, _ = refusal(asked(301, headers={"location": "https://relay.example/v1/x"}))
    assert text.splitlines() == [
        "301 http://relay.example/v1/x sends us on to https://relay.example/v1/x",
        "    If that is your taskrelay, say so: --url",
    ]


@pytest.mark.parametrize(
    ("key", "said"),
    [("", "No key was given"), ("sk-secret", "does not begin with trk_"), ("trk_secret", "still in force")],
)
def test_a_refused_key_is_spoken_of_and_never_shown(key: str, said: str) -> None:
    told = advice(401, key=key, about=None, version="1")
    assert told is not None and said in told and "secret" not in told


@pytest.mark.parametrize(
    ("about", "said"),
    [
        (None, None),
        ({"name": "taskrelay", "version": "1"}, None),
        ({"name": "taskrelay", "version": "2"}, "That is taskrelay 2, and this command is 1"),
        ({"name": "nginx"}, "does not call itself taskrelay"),
        ({}, "does not call itself taskrelay"),
    ],
)
def test_another_release_and_another_server_are_told_apart(about: dict[str, str] | None, said: str | None) -> None:
    told = advice(404, key="trk_", about=about, version="1")
    assert (told is None) == (said is None) and (said or "") in (told or "")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "Write http://"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate", "SSL_CERT_FILE=/path/to/ca.pem"),
        ("[Errno 111] Connection refused", "taskrelay serve"),
    ],
)
def test_nobody_there_says_what_to_do_about_it(error: str, said: str) -> None:
    text = unreachable("https://relay.example", OSError(error), error)
    assert text.startswith("https://relay.example ") and said in text


def test_only_an_order_may_have_been_carried_out_without_an_answer() -> None:
    assert "Look before you repeat it" in unanswered("http://x", "POST", "broken")
    assert unanswered("http://x", "GET", "broken") == "http://x gave no answer: broken"
