"""What is written: whole lines, in one place, without secrets, whatever is logged and by whom."""

from __future__ import annotations

import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from service.telemetry import log

CANARY = "c4n4ryC4N4RY0123456789"
logger = logging.getLogger("service.test")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in [*log.LIBRARIES, "uvicorn.access", "uvicorn.error", "aiohttp.access"]:
        logging.getLogger(name).setLevel(logging.NOTSET)
        logging.getLogger(name).disabled = False


Captured = pytest.CaptureFixture[str]


def entries(written: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.splitlines()]


def test_a_record_is_one_json_object_with_its_extras(capsys: Captured) -> None:
    log.configure("info", json=True)
    logger.info("submitted %s", "task_1", extra={"account": "ulazai", "attempts": 2, "text": "not this"})
    (entry,) = entries(capsys.readouterr().out)
    assert entry.pop("at").endswith("Z")
    assert entry == {
        "level": "info",
        "logger": "service.test",
        "text": "submitted task_1",
        "account": "ulazai",
        "attempts": 2,
    }


def test_the_level_is_the_least_that_is_written(capsys: Captured) -> None:
    log.configure("warning", json=True)
    logger.info("no")
    logger.warning("yes")
    assert [entry["text"] for entry in entries(capsys.readouterr().out)] == ["yes"]


def test_a_person_gets_readable_lines_on_stderr(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    log.configure("info")
    logger.warning("breaker open", extra={"account": "ulazai"})
    out, err = capsys.readouterr()
    assert err.endswith("warning service.test  breaker open  account=ulazai\n")
    assert out == ""


def test_without_a_terminal_the_lines_are_json(capsys: Captured) -> None:
    log.configure("info")
    logger.info("x")
    assert entries(capsys.readouterr().out)[0]["text"] == "x"


HOSTILE = "a\r\nb\x1b[31m\x00\x7f\x85\x9b\u2028\u202e\ud800 \N{PILE OF POO}"


def test_hostile_text_stays_on_its_line_and_survives_as_json(capsys: Captured) -> None:
    log.configure("info", json=True)
    logger.info(HOSTILE, extra={"agent": HOSTILE})
    written = capsys.readouterr().out
    assert len(written.splitlines()) == 1
    assert all(ord(letter) >= 0x20 and not 0x7F <= ord(letter) <= 0x9F for letter in written.rstrip("\n"))
    (entry,) = entries(written)
    assert entry["text"] == HOSTILE.replace("\ud800", "\\ud800")
    assert entry["agent"] == entry["text"]


def test_hostile_text_cannot_paint_a_terminal(capsys: Captured) -> None:
    log.configure("info", json=False)
    logger.info(HOSTILE)
    written = capsys.readouterr().err
    assert len(written.splitlines()) == 1
    assert "\x1b" not in written
    assert "b\\u001b[31m" in written


@pytest.mark.parametrize("as_json", [True, False])
def test_no_canary_is_written_by_any_way(as_json: bool, capsys: Captured) -> None:
    log.configure("debug", json=as_json)
    logger.error("url https://user:%s@h/x?%s", CANARY, CANARY, extra={"api_key": CANARY, "headers": {"cookie": CANARY}})
    try:
        raise ConnectionError(f"POST https://h/callbacks/ulazai/{CANARY} failed, Authorization: Bearer {CANARY}")
    except ConnectionError:
        logger.exception("delivery failed")
    for name in ("httpx", "uvicorn.error", "aiohttp.client", "stranger"):
        logging.getLogger(name).error("GET https://h/x?sig=%s", CANARY)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"whsec_{CANARY}", stacklevel=1)
    written = "".join(capsys.readouterr())
    assert CANARY not in written
    assert "ConnectionError" in written
    assert "whsec_***" in written


def test_libraries_are_quiet_and_have_no_way_around(capsys: Captured) -> None:
    side = io.StringIO()
    own = logging.getLogger("uvicorn.error")
    own.addHandler(logging.StreamHandler(side))
    own.propagate = False
    log.configure("debug", json=True)
    for name in ("httpx", "httpcore.connection", "aiohttp.client", "uvicorn.error", "uvicorn", "asyncio"):
        logging.getLogger(name).info("chatter")
    logging.getLogger("uvicorn.access").error("GET /callbacks/x/y")
    own.warning("worth knowing")
    assert [entry["text"] for entry in entries(capsys.readouterr().out)] == ["worth knowing"]
    assert side.getvalue() == ""


def test_a_record_that_cannot_be_made_is_told_without_its_arguments(capsys: Captured) -> None:
    log.configure("info", json=True)
    logger.info("%d", CANARY)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "a record of logger service.test could not be written\n"


def test_a_closed_stream_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdout", "stderr"):
        closed = io.StringIO()
        monkeypatch.setattr(sys, name, closed)
        closed.close()
    log.configure("info", json=True)
    logger.info("into the void")


def test_configuring_twice_writes_once(capsys: Captured) -> None:
    log.configure("info", json=True)
    log.configure("info", json=True)
    logger.info("once")
    assert len(entries(capsys.readouterr().out)) == 1


def test_numbers_json_has_no_word_for_are_still_written(capsys: Captured) -> None:
    log.configure("info", json=True)
    logger.info("n", extra={"big": 2**70, "rate": float("inf"), "set": {1}, "raw": b"\x00\x01"})
    (entry,) = entries(capsys.readouterr().out)
    assert (entry["big"], entry["rate"], entry["set"], entry["raw"]) == (str(2**70), None, [1], "2 bytes")
