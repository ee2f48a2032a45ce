"""`make histories`: let every scenario happen again and store what it left. On purpose only: read the difference before it is kept."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.histories.scenarios import FOLDER, recorded, scenarios
from tests.histories.text import dumped


def main(names: list[str]) -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in names or scenarios():
        with tempfile.TemporaryDirectory() as folder:
            text = dumped(asyncio.run(recorded(name, Path(folder))))
        path = FOLDER / f"{name}.json"
        before = path.read_text() if path.exists() else None
        path.write_text(text)
        print(f"{'new      ' if before is None else 'changed  ' if before != text else 'the same '}{name}")  # noqa: T201
    if not names:
        for path in FOLDER.glob("*.json"):
            if path.stem not in scenarios():
                path.unlink()
                print(f"gone     {path.stem}")  # noqa: T201


main(sys.argv[1:])
