from __future__ import annotations

import json

import pytest

from service.cli import terminal
from service.cli.terminal import Stop

HOSTILE = "a\x1b[2Jb\u202ec\rd"


def test_nothing_a_terminal_would_act_on_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.say(HOSTILE)
    terminal.warn(HOSTILE)
    terminal.columns([(HOSTILE,)])
    out, err = capsys.readouterr()
    assert not set("\x1b\u202e\r") & set(out + err)
    assert out.splitlines()[0] == "a\\u001b[2Jb\\u202ec\\u000dd"


def test_line_breaks_of_our_own_stay(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.say("one\n    two\n")
    assert capsys.readouterr().out == "one\n    two\n\n"


def test_columns_are_as_wide_as_their_widest_cell_so_an_id_can_be_copied(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.columns([("task_" + "A" * 60, None), ("b", "x")], head=("TASK", "WHY"))
    assert capsys.readouterr().out.splitlines() == [
        "TASK" + " " * 61 + "  WHY",
        "task_" + "A" * 60 + "  -",
        "b" + " " * 64 + "  x",
    ]


def test_a_result_is_one_document_that_reads_back(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show({"name": "Grüße\n"})
    out = capsys.readouterr().out
    assert json.loads(out) == {"name": "Grüße\n"} and out.count("\n") == 1


def test_an_error_is_text_for_people_and_a_document_for_programs_never_on_stdout(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stop = Stop("422 /model  no such model", facts={"status": 422, "code": "invalid"})
    stop.tell(json=False)
    stop.tell(json=True)
    Stop("nobody there", terminal.UNREACHABLE).tell(json=True)
    out, err = capsys.readouterr()
    text, document, plain = err.splitlines()
    assert out == ""
    assert text == "422 /model  no such model"
    assert json.loads(document) == {"error": {"status": 422, "code": "invalid"}, "exit": 1}
    assert json.loads(plain) == {"error": {"detail": "nobody there"}, "exit": 3}


def test_bars_are_for_terminals_only() -> None:
    assert not terminal.console().is_terminal
