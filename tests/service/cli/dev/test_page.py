from __future__ import annotations

import json
import shlex
from dataclasses import replace
from typing import Any

import pytest

from service.cli.dev.page import Up, first_request, logged, page, told

UP = Up(
    url="http://127.0.0.1:8080",
    sandbox="http://127.0.0.1:8090",
    key="trk_abc",
    secret="whsec_abc",
    folder=".taskrelay-dev",
    command=".venv/bin/taskrelay",
    reference="order-8841",
    job_seconds=0.5,
    pids={"sandbox": 1, "taskrelay": 2},
)


def test_the_first_request_is_one_shell_command_from_the_margin() -> None:
    text = "\n".join(first_request(UP))
    assert text.startswith("curl ")
    words = shlex.split(text.replace("\\\n", ""))
    assert words[:3] == ["curl", "-s", "http://127.0.0.1:8080/v1/tasks"]
    assert {"Authorization: Bearer trk_abc", "Prefer: wait=30"} <= set(words)
    body = json.loads(words[-1])
    assert (body["reference"], body["provider"], body["model"]) == ("order-8841", "cloudsway", "kling-3.0-turbo")
    assert text in "\n".join(page(UP))


def test_the_page_says_where_everything_is_and_how_to_go_on() -> None:
    text = "\n".join(page(replace(UP, reference="order-8850")))
    for said in (UP.url, UP.sandbox, UP.key, UP.secret, UP.folder, "a job takes 0.5 s", "--fresh"):
        assert said in text
    assert "\nexport TASKRELAY_URL=http://127.0.0.1:8080 TASKRELAY_KEY=trk_abc\n" in text
    for command in ("tasks why order-8850", "listen --forward-to http://", "endpoints create http://", "audit"):
        assert f"\n.venv/bin/taskrelay {command}" in text


def test_a_program_gets_the_same() -> None:
    facts = json.loads(json.dumps(UP.facts))
    assert facts["ready"] == "dev"
    assert (facts["key"], facts["webhook_secret"], facts["pids"]["taskrelay"]) == ("trk_abc", "whsec_abc", 2)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({"output_url": "http://o", "error": None}, "order-1  http://o"),
        ({"phase": "running", "output_url": None}, "order-1  running"),
        ({"error": {"code": "moderated", "message": "no"}, "output_url": "http://o"}, "order-1  moderated: no"),
    ],
)
def test_an_event_is_a_line(task: dict[str, Any], said: str) -> None:
    known = {"id": "task_1", "provider": "ulazai", "model": "kling-3.0", "reference": "order-1"}
    event = {"type": "task.failed", "timestamp": "2026-01-02T03:04:05.000000Z", "data": known | task}
    line = told(event)
    assert line.endswith(f":04:05  task.failed        task_1  ulazai/kling-3.0  {said}".removeprefix(":04"))
    assert "\n" not in line


def test_an_event_that_is_not_of_a_task_is_a_line_too() -> None:
    event = {"type": "account.paused", "timestamp": "2026-01-02T03:04:05.000000Z", "data": {"name": "ulazai"}}
    assert told(event).endswith("account.paused     ulazai")
    assert told({**event, "data": None}).endswith("account.paused")


def line(level: str, **more: object) -> bytes:
    return json.dumps({"at": "x", "level": level, "logger": "l", "text": "disk full", **more}).encode() + b"\n"


def test_only_what_goes_wrong_is_shown_unless_all_is_wanted() -> None:
    assert logged("taskrelay", line("error", task="t"), verbose=False) == "taskrelay   error: disk full  task=t"
    for level in ("info", "warning"):
        assert logged("taskrelay", line(level), verbose=False) is None
        assert logged("taskrelay", line(level), verbose=True) == f"taskrelay   {level}: disk full"


@pytest.mark.parametrize("said", [b"Traceback\n", b"[1]\n", b'{"ready": "sandbox"}\n', b"\xff\n"])
def test_what_is_no_line_of_a_log_is_shown_as_it_is_when_all_is_wanted(said: bytes) -> None:
    assert logged("sandbox", said, verbose=False) is None
    assert logged("sandbox", said, verbose=True) == f"sandbox     {said.decode(errors='replace').rstrip()}"
    assert logged("sandbox", b"\n", verbose=True) is None
