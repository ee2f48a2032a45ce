from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from service.cli import client
from service.cli.app import app
from service.cli.client import Api
from service.cli.demo.stage import free_port
from service.cli.terminal import FAILED, UNREACHABLE, USAGE, Stop
from tests.service.cli.scripted import Reply, Scripted, problem, scripting

KEY = "trk_" + "k" * 32


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    with scripting() as found:
        yield found


def stopped(scripted: Scripted, ask: Callable[[Api], Any]) -> Stop:
    with Api(scripted.url, KEY, pause=lambda _: None) as api, pytest.raises(Stop) as stop:
        ask(api)
    return stop.value


def waiting(scripted: Scripted, *answers: Reply) -> tuple[Api, list[float]]:
    """A client that notes how long it would have waited."""
    rest = list(answers)
    waited: list[float] = []
    scripted.answer = lambda: rest.pop(0)
    return Api(scripted.url, KEY, pause=waited.append), waited


BUSY = problem(503, code="unavailable", detail="Not just now.")


def test_the_key_travels_in_its_header_and_in_no_repr(scripted: Scripted) -> None:
    with Api(scripted.url, KEY) as api:
        api.get("/v1/tasks", {"status": None, "limit": 3})
        assert KEY not in repr(api)
    _, path, headers, _ = scripted.asked[0]
    assert (path, headers["authorization"]) == ("/v1/tasks?limit=3", f"Bearer {KEY}")


def test_without_a_key_none_is_made_up(scripted: Scripted) -> None:
    with Api(scripted.url, "") as api:
        api.get("/v1/tasks")
    assert "authorization" not in scripted.asked[0][2]


def test_every_fault_is_a_line_with_its_field(scripted: Scripted) -> None:
    errors = [
        {"pointer": "/model", "detail": 'cloudsway has no "kling-3".'},
        {"pointer": "/webhook_url", "detail": "not called by default.\nTo allow it here: X=1"},
    ]
    scripted.answer = lambda: problem(422, code="invalid", detail="two", errors=errors)
    stop = stopped(scripted, lambda api: api.post("/v1/tasks", {}))
    assert stop.code == FAILED
    assert stop.text.splitlines() == [
        '422 /model  cloudsway has no "kling-3".',
        "422 /webhook_url  not called by default.",
        "    To allow it here: X=1",
    ]
    assert stop.facts is not None and stop.facts["errors"] == errors


def test_a_refusal_without_fields_is_named_by_its_code(scripted: Scripted) -> None:
    scripted.answer = lambda: problem(409, code="reference_taken", detail="order-1 belongs to task_1.", errors=[])
    assert stopped(scripted, lambda api: api.get("/")).text == "409 reference_taken  order-1 belongs to task_1."


@pytest.mark.parametrize("status", [200, 502])
def test_something_that_is_not_taskrelay_is_called_that(status: int, scripted: Scripted) -> None:
    scripted.answer = lambda: (status, {"content-type": "text/html"}, b"<h1>Bad gateway</h1>")
    stop = stopped(scripted, lambda api: api.get("/v1/tasks"))
    assert stop.code == FAILED and str(status) in stop.text and "--url" in stop.text
    assert "<h1>" not in stop.text


def test_nobody_there_is_exit_3_and_says_how_to_start_it() -> None:
    with Api(f"http://127.0.0.1:{free_port()}", KEY) as api, pytest.raises(Stop) as stop:
        api.get("/v1/tasks")
    assert stop.value.code == UNREACHABLE
    assert "taskrelay serve" in stop.value.text and KEY not in stop.value.text


def test_a_lost_answer_to_a_question_is_asked_for_again(scripted: Scripted) -> None:
    answers: list[Reply] = [None, None, (200, {}, b'{"id": 1}')]
    scripted.answer = lambda: answers.pop(0)
    with Api(scripted.url, KEY) as api:
        assert api.get("/v1/tasks/x") == {"id": 1}
    assert len(scripted.asked) == 3


def test_a_lost_answer_to_a_purchase_is_never_sent_again(scripted: Scripted) -> None:
    scripted.answer = lambda: None
    stop = stopped(scripted, lambda api: api.post("/v1/tasks", {"model": "x"}))
    assert len(scripted.asked) == 1
    assert stop.code == UNREACHABLE and "Look before you repeat it" in stop.text


def test_following_says_nothing_while_nothing_changes(scripted: Scripted) -> None:
    answers: list[Reply] = [
        (200, {"etag": '"a"'}, b'{"v": 1}'),
        (304, {"etag": '"a"'}, b""),
        (200, {"etag": '"b"'}, b'{"v": 2}'),
    ]
    scripted.answer = lambda: answers.pop(0)
    with Api(scripted.url, KEY) as api:
        assert api.follow("/v1/tasks/x", None, 0) == ({"v": 1}, '"a"')
        assert api.follow("/v1/tasks/x", '"a"', 20) == (None, '"a"')
        assert api.follow("/v1/tasks/x", '"a"', 20) == ({"v": 2}, '"b"')
    assert [headers.get("if-none-match") for _, _, headers, _ in scripted.asked] == [None, '"a"', '"a"']
    assert scripted.asked[1][1] == "/v1/tasks/x?wait=20"


def test_no_content_is_nothing(scripted: Scripted) -> None:
    scripted.answer = lambda: (204, {}, b"")
    with Api(scripted.url, KEY) as api:
        assert api.delete("/v1/endpoints/ep_1") is None


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("127.0.0.1:8080", KEY), ("ftp://x", KEY), ("http://[::1", KEY), ("http://\udcff", KEY), ("http://x:99999", KEY),
        ("http://127.0.0.1:1", "trk_\n"),
    ],
)  # fmt: skip
def test_an_address_or_key_that_cannot_be_one_is_wrong_usage(url: str, key: str) -> None:
    with pytest.raises(Stop) as stop, Api(url, key):
        pass
    assert stop.value.code == USAGE


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with Api(scripted.url, KEY) as api:
        assert api.get("/") == {}


def test_what_clients_set_is_no_setting_of_the_service() -> None:
    assert {"TASKRELAY_URL", "TASKRELAY_KEY", "TASKRELAY_WEBHOOK_SECRET"} == client.CLIENT_VARIABLES


def test_a_limit_is_waited_for_as_long_as_it_says_also_by_an_order(
    scripted: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    status, headers, body = problem(429, code="rate_limited", detail="Too many.") or (0, {}, b"")
    api, waited = waiting(scripted, (status, headers | {"retry-after": "7"}, body), (202, {}, b'{"id": 1}'))
    with api:
        assert api.post("/v1/tasks", {"model": "x"}) == {"id": 1}
    assert waited == [7.0] and len(scripted.asked) == 2
    assert capsys.readouterr().err == "… 429 rate_limited  Too many; asking again in 7 s\n"


@pytest.mark.parametrize("asked", ["61", "3600", "soon", ""])
def test_a_limit_that_asks_for_too_much_or_nothing_is_told(asked: str, scripted: Scripted) -> None:
    status, headers, body = problem(429, code="rate_limited", detail="Too many.") or (0, {}, b"")
    api, waited = waiting(scripted, (status, headers | {"retry-after": asked}, body))
    with api, pytest.raises(Stop, match="429 rate_limited"):
        api.post("/v1/tasks", {})
    assert waited == []


def test_a_limit_is_not_waited_for_for_ever(scripted: Scripted) -> None:
    status, headers, body = problem(429, code="rate_limited", detail="Too many.") or (0, {}, b"")
    scripted.answer = lambda: (status, headers | {"retry-after": "50"}, body)
    waited: list[float] = []
    with Api(scripted.url, KEY, pause=waited.append) as api, pytest.raises(Stop, match="429"):
        api.get("/v1/tasks")
    assert waited == [50.0, 50.0]


def test_what_is_busy_is_asked_again_but_an_order_is_not_repeated(scripted: Scripted) -> None:
    api, waited = waiting(scripted, BUSY, BUSY, (200, {}, b'{"id": 1}'))
    with api:
        assert api.get("/v1/tasks/x") == {"id": 1}
    assert waited == [1.0, 1.0]
    api, waited = waiting(scripted, BUSY)
    with api, pytest.raises(Stop, match="503 unavailable"):
        api.post("/v1/tasks", {})
    assert waited == []


def test_what_stays_busy_is_told_in_the_end(scripted: Scripted) -> None:
    api, waited = waiting(scripted, BUSY, BUSY, BUSY)
    with api, pytest.raises(Stop, match="503 unavailable"):
        api.get("/v1/tasks")
    assert waited == [1.0, 1.0] and len(scripted.asked) == 3


def test_where_a_path_is_unknown_the_other_side_is_asked_which_release_it_is(scripted: Scripted) -> None:
    api, _ = waiting(scripted, problem(404, code="not_found"), (200, {}, b'{"name": "taskrelay", "version": "9.9"}'))
    with api, pytest.raises(Stop) as stop:
        api.get("/v1/new")
    assert stop.value.text.splitlines()[-1].startswith("    That is taskrelay 9.9, and this command is ")
    assert [path for _, path, _, _ in scripted.asked] == ["/v1/new", "/"]


def test_a_server_without_tls_is_told_from_one_that_is_not_there(scripted: Scripted) -> None:
    with Api(scripted.url.replace("http://", "https://"), KEY) as api, pytest.raises(Stop) as stop:
        api.get("/v1/tasks")
    assert stop.value.code == UNREACHABLE and "does not speak TLS" in stop.value.text


def test_a_file_travels_as_a_form(scripted: Scripted) -> None:
    with Api(scripted.url, KEY) as api:
        api.upload("/v1/uploads", "a.png", b"PNG!", {"provider": "ulazai"})
    _, path, headers, body = scripted.asked[0]
    assert path == "/v1/uploads" and headers["content-type"].startswith("multipart/form-data")
    assert b'name="file"; filename="a.png"' in body and b"PNG!" in body and b"ulazai" in body


def test_a_file_whose_answer_got_lost_is_sent_again_under_the_same_key(scripted: Scripted) -> None:
    api, _ = waiting(scripted, None, (201, {}, b'{"url": "x"}'))
    with api:
        assert api.upload("/v1/uploads", "a.png", b"PNG!", {}) == {"url": "x"}
    assert len({asked[2]["idempotency-key"] for asked in scripted.asked}) == 1 and len(scripted.asked) == 2
    assert all(b"PNG!" in asked[3] for asked in scripted.asked)


def test_a_creation_whose_answer_got_lost_is_repeated_under_the_same_key(scripted: Scripted) -> None:
    status, headers, body = problem(409, code="idempotency_key_in_use", detail="Still worked on.") or (0, {}, b"")
    busy = (status, headers | {"retry-after": "1"}, body)
    api, waited = waiting(scripted, None, busy, BUSY, (202, {}, b'{"id": 1}'))
    with api:
        assert api.create("/v1/tasks", {"model": "x"}) == {"id": 1}
    keys = {asked[2]["idempotency-key"] for asked in scripted.asked}
    assert len(scripted.asked) == 4 and len(keys) == 1 and waited == [1.0, 1.0]
    assert len(keys.pop().strip('"')) == 32


MADE = (
    b'{"id": "x", "status": "delivered", "count": 0, "next_since": null, "data": [], "attempts": [], "has_more": false}'
)
THERE = ("--url", "{url}", "--key", KEY)


@pytest.mark.parametrize(
    "order",
    [
        ("keys", "create", "--name", "ci", "--scope", "tasks", *THERE),
        ("projects", "create", "--name", "shop", *THERE),
        ("projects", "rotate-secret", "current", *THERE),
        ("endpoints", "rotate", "ep_1", *THERE),
        ("endpoints", "test", "ep_1", *THERE),
        ("endpoints", "replay", "ep_1", "--since", "2026-11-20T21:10:00Z", *THERE),
        ("signing-keys", "rotate", *THERE),
        ("deliveries", "retry", "dlv_1", *THERE),
    ],
    ids=" ".join,
)
def test_every_command_that_creates_does_it_once_though_its_answer_got_lost(
    order: tuple[str, ...], scripted: Scripted
) -> None:
    answers: list[Reply] = [None, (200, {}, MADE), (200, {}, MADE)]
    scripted.answer = lambda: answers.pop(0)
    ended = CliRunner().invoke(app, [*(word.format(url=scripted.url) for word in order), "--json"])
    posted = [asked[2]["idempotency-key"] for asked in scripted.asked if asked[0] == "POST"]
    assert (ended.exit_code, len(posted), len(set(posted))) == (0, 2, 1), ended.output


def test_two_creations_are_two(scripted: Scripted) -> None:
    with Api(scripted.url, KEY) as api:
        api.create("/v1/tasks", {"model": "x"})
        api.create("/v1/tasks", {"model": "x"})
    assert len({asked[2]["idempotency-key"] for asked in scripted.asked}) == 2


def test_a_creation_that_nobody_answers_in_the_end_may_have_been_done(scripted: Scripted) -> None:
    scripted.answer = lambda: None
    stop = stopped(scripted, lambda api: api.create("/v1/tasks", {"model": "x"}))
    assert len(scripted.asked) == 3 and "Look before you repeat it" in stop.text


def test_a_conflict_that_will_stay_one_is_told_at_once(scripted: Scripted) -> None:
    api, waited = waiting(scripted, problem(409, code="reference_taken", detail="order-1 belongs to task_1."))
    with api, pytest.raises(Stop, match="409 reference_taken"):
        api.create("/v1/tasks", {"model": "x"})
    assert waited == []
