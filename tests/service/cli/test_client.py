from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from service.cli import client
from service.cli.client import Api
from service.cli.demo.stage import free_port
from service.cli.terminal import FAILED, UNREACHABLE, USAGE, Stop

KEY = "trk_" + "k" * 32
Reply = tuple[int, dict[str, str], bytes] | None  # None: the connection closes without a word


class Scripted:
    """A real server that answers what it is told and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answer: Callable[[], Reply] = lambda: (200, {}, b"{}")
        scripted = self

        class Door(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                scripted.asked.append((self.command, self.path, headers, body))
                reply = scripted.answer()
                if reply is None:
                    self.close_connection = True
                    return
                status, headers, content = reply
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_DELETE = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    found = Scripted()
    thread = threading.Thread(target=found.server.serve_forever, args=(0.01,))
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


def problem(status: int, **members: Any) -> Reply:
    return status, {"content-type": "application/problem+json"}, json.dumps({"status": status, **members}).encode()


def stopped(scripted: Scripted, ask: Callable[[Api], Any]) -> Stop:
    with Api(scripted.url, KEY) as api, pytest.raises(Stop) as stop:
        ask(api)
    return stop.value


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


@pytest.mark.parametrize(("url", "key"), [("127.0.0.1:8080", KEY), ("ftp://x", KEY), ("http://127.0.0.1:1", "trk_\n")])
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
