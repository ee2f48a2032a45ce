"""Logging: one JSON object a line on stdout, or one readable line on stderr when a person is watching.

A line says on whose request it is, where it is on one (`request_id`, `key`, `project`).
Every record, from us or from a library, passes the same redaction. A log call never raises and never prints the
arguments of a record that could not be written, since those have not been redacted yet.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TextIO

import orjson

from service.telemetry import context, redact
from service.telemetry.outlet import Outlet, say_at_once

# What `logging` itself puts on a record; anything else came in by `extra=`.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

# They log requests at INFO, URLs and all.
LIBRARIES = (
    "httpx",
    "httpcore",
    "aiohttp",
    "uvicorn",
    "asyncio",
    "hpack",
    "aiosqlite",
    "urllib3",
    "requests",
    "opentelemetry",
)
_ACCESS = ("uvicorn.access", "aiohttp.access")

DRAIN_SECONDS = 2.0  # at the end, for whoever is slow to read; then what is left is lost

GAP = "lines are missing here: whoever reads this log did not keep up"
FIX = "look at what reads this log; nothing but the lines was lost"

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(level: str = "info", json: bool | None = None) -> None:
    """Send every record of this process to one place. `json`: None decides by whether stderr is a terminal."""
    if json is None:
        json = not sys.stderr.isatty()
    line = Lines(sys.stdout, JsonLine()) if json else Lines(sys.stderr, HumanLine())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(line)
    root.setLevel(LEVELS[level])
    for name in LIBRARIES:
        _tame(name, max(LEVELS[level], logging.WARNING))
    for name in _ACCESS:  # halves throughput, and writes callback tokens
        logging.getLogger(name).disabled = True
    logging.captureWarnings(True)


def _tame(name: str, level: int) -> None:
    """Hush a library, and take from it any way past our redaction."""
    known = [n for n in logging.Logger.manager.loggerDict if n.startswith(f"{name}.")]
    for each in (name, *known):
        logger = logging.getLogger(each)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET if each != name else level)


class Lines(logging.Handler):
    """Writes records to a stream, waits for nobody who reads it, and gives up quietly when that is impossible."""

    def __init__(self, stream: TextIO, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._stream = stream
        self._outlet: Outlet | None = None  # of a stream without a descriptor: nobody is waited for there
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
            self._outlet = Outlet(stream.fileno(), self.lock, self._gap)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
            if self._outlet is not None:
                self._outlet.write(line)
            else:
                self._stream.write(line + "\n")
                self._stream.flush()
        except Exception:  # of a log call, whatever happens
            self.handleError(record)

    def flush(self) -> None:
        """Called at the end of the program."""
        if self._outlet is not None:
            self.acquire()
            try:
                self._outlet.drain(DRAIN_SECONDS)
            finally:
                self.release()

    def handleError(self, record: logging.LogRecord) -> None:
        say_at_once(sys.stderr, f"a record of logger {redact.visible(record.name)} could not be written\n")

    def _gap(self, missing: int) -> str:
        told = {"name": "taskrelay.log", "levelno": logging.WARNING, "levelname": "WARNING", "msg": GAP}
        return self.format(logging.makeLogRecord({**told, "dropped": missing, "fix": FIX}))


class JsonLine(logging.Formatter):
    """`{"at", "level", "logger", "text", …extra, "error"}` on one line of printable text."""

    def format(self, record: logging.LogRecord) -> str:
        head: dict[str, object] = {"at": _at(record), "level": record.levelname.lower(), "logger": record.name}
        if (facts := _facts(record)) is not None:
            return "\n".join(_line({**head, **fact}) for fact in facts)
        entry = {**head, "text": _text(record)}
        entry |= {key: item for key, item in (context.fields() | _extra(record)).items() if key not in entry}
        if trace := _trace(self, record):
            entry["error"] = trace
        return _line(entry)


class HumanLine(logging.Formatter):
    """`12:04:31 warning pipeline.poll  text  key=value`, and a traceback indented below."""

    def format(self, record: logging.LogRecord) -> str:
        if (facts := _facts(record)) is not None:
            return "\n".join(self._line(record, str(fact.get("text", "")), fact) for fact in facts)
        line = self._line(record, _text(record), context.fields() | _extra(record))
        return "\n    ".join([line, *(redact.visible(part) for part in _trace(self, record).splitlines())])

    def _line(self, record: logging.LogRecord, text: str, said: Mapping[str, object]) -> str:
        clock = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        head = f"{clock} {record.levelname.lower():7} {record.name}  {text}"
        return redact.visible("  ".join([head, *(f"{key}={item}" for key, item in said.items() if key != "text")]))


def _facts(record: logging.LogRecord) -> Sequence[Mapping[str, object]] | None:
    """What `facts.tell` handed over, clean already."""
    return getattr(record, "facts", None)


def _line(entry: dict[str, object]) -> str:
    # JSON escapes C0 controls only; the rest is spelled out afterwards, where it can only stand inside a string.
    try:
        line = orjson.dumps(entry)
    except TypeError:  # lone surrogates, integers past 64 bits, keys that are no text: rare, so a second try is cheap
        line = orjson.dumps(_encodable(entry), option=orjson.OPT_NON_STR_KEYS)
    return line.decode() if line.isascii() and b"\x7f" not in line else redact.visible(line.decode())


def _at(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _text(record: logging.LogRecord) -> str:
    return redact.text(record.getMessage())


def _extra(record: logging.LogRecord) -> dict[str, object]:
    given = {key: item for key, item in vars(record).items() if key not in _OWN}
    redacted = redact.value(given)
    return redacted if isinstance(redacted, dict) else {}


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = [formatter.formatException(record.exc_info)] if record.exc_info and record.exc_info[0] else []
    if record.stack_info:
        parts.append(record.stack_info)
    return redact.text("\n".join(parts))


def _encodable(item: object) -> object:
    """What orjson takes: lone surrogates and integers past 64 bits would make it raise."""
    if isinstance(item, str):
        return item.encode("utf-8", "backslashreplace").decode()
    if isinstance(item, dict):
        return {_encodable(key): _encodable(part) for key, part in item.items()}
    if isinstance(item, list):
        return [_encodable(part) for part in item]
    if isinstance(item, int) and not -(2**63) <= item < 2**64:
        return str(item)
    return item
