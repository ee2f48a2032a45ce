from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from service.cli.watching import Alive, Documents, Lines, counted, screen

ID = "task_01M7YS3WPKZ98XA4C1SFTGVZTF"


def task(number: int, status: str = "processing", **members: object) -> dict[str, Any]:
    made = {"created_at": f"2026-01-01T00:00:0{number}Z", "finished_at": None, "reference": f"order-{number}"}
    ended = {"finished_at": "2026-01-01T00:00:09Z"} if status in ("succeeded", "failed") else {}
    of = {"provider": "cloudsway", "model": "kling-3.0-turbo"}
    return {
        "id": f"{ID[:-1]}{number}",
        "status": status,
        "phase": None,
        "progress": None,
        **of,
        **made,
        **ended,
        **members,
    }


def drawn(tasks: list[dict[str, Any]], *, width: int, height: int = 20) -> list[str]:
    out = io.StringIO()
    there = Console(file=out, width=width, height=height, force_terminal=True, no_color=True, legacy_windows=False)
    there.print(Alive({one["id"]: one for one in tasks}, there).picture())
    return [
        line.replace("\x1b[1m", "").replace("\x1b[0m", "").replace("\x1b[2m", "")
        for line in out.getvalue().splitlines()
    ]


@pytest.mark.parametrize("width", [40, 80, 110, 200])
def test_an_id_can_be_copied_whole_however_narrow_the_terminal(width: int) -> None:
    lines = drawn([task(1)], width=width)
    assert any(ID[:-1] + "1" in line for line in lines)
    assert all(len(line.rstrip()) <= width for line in lines)


def test_what_gives_way_on_a_narrow_terminal_is_model_then_reference() -> None:
    assert "MODEL" in drawn([task(1)], width=120)[0] and "MODEL" not in drawn([task(1)], width=100)[0]
    assert "order-1" in drawn([task(1)], width=80)[1] and "REFERENCE" not in drawn([task(1)], width=60)[0]


def test_the_open_ones_come_first_and_what_does_not_fit_is_counted() -> None:
    lines = drawn([task(1, "succeeded"), *(task(number) for number in range(2, 9))], width=120, height=8)
    assert ["succeeded" in line for line in lines[1:5]] == [False] * 4
    assert lines[5] == "… and 4 more  8 tasks: 7 processing, 1 succeeded"


def test_a_reference_cannot_paint_the_terminal() -> None:
    assert "\x1b" not in drawn([task(1, reference="\x1b[31mred")], width=200)[1]


def test_a_change_is_a_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines({ID: task(1)})
    for one in (task(1), task(1), task(1, progress=40)):
        lines.tell(one)
    said = [line.split("  ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert said == [f"{ID[:-1]}1  processing  order-1", f"{ID[:-1]}1  processing, 40 %  order-1"]


def test_each_change_is_a_document_and_the_last_one_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    with screen(True, {"a": task(1), "b": task(2, "failed")}) as shown:
        assert isinstance(shown, Documents)
        shown.tell(task(1))
        shown.sum_up()
    first, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == task(1)
    assert last == {"ended": "watch", "tasks": 2, "statuses": {"processing": 1, "failed": 1}}


def test_without_a_terminal_there_is_no_table() -> None:
    with screen(False, {}) as shown:
        assert isinstance(shown, Lines)


def test_one_task_is_not_called_tasks() -> None:
    assert (counted(1), counted(1200)) == ("1 task", "1,200 tasks")
