"""Around a run: ids that repeat, a log that is listened to, and the end of what never ended."""

from __future__ import annotations

import contextlib
import logging
import traceback
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.simulation import faults


@contextlib.contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """The sandbox makes its ids by uuid4; here they come from the seed."""
    draw, real = faults.dice(seed, "uuid"), uuid.uuid4
    uuid.uuid4 = lambda: uuid.UUID(bytes=draw.randbytes(16), version=4)
    try:
        yield
    finally:
        uuid.uuid4 = real


class Kept(logging.Handler):
    def __init__(self, kept: list[logging.LogRecord]) -> None:
        super().__init__()
        self.kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(record)


@contextlib.contextmanager
def listening() -> Iterator[list[logging.LogRecord]]:
    """Everything that is logged meanwhile."""
    kept: list[logging.LogRecord] = []
    keep, root = Kept(kept), logging.getLogger()
    others, level = root.handlers[:], root.level
    root.handlers[:] = [keep]
    root.setLevel(logging.INFO)
    try:
        yield kept
    finally:
        root.handlers[:] = others
        root.setLevel(level)


def where(error: BaseException) -> str:
    """The place it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "nowhere"


def close(work: Any) -> None:
    """Let a coroutine that will never go on be collected. Its `finally` blocks meet a world that is over."""
    for _ in range(50):
        try:
            work.close()
        except BaseException:  # whatever it says, nobody listens any more
            continue
        return
