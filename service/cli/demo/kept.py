"""What a demo that failed leaves for the next look: one folder, marked as ours so that a later demo may clear it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

KEPT = Path(".demo")
MARK = "README"  # says that the folder is ours, so that a later demo may replace it
MARK_TEXT = "Left by a `taskrelay demo` that failed: logs, timelines and the database. It may be deleted.\n"


def keep(folder: Path, known: Mapping[str, object]) -> Path:
    """Put what is known where the next look is; where that cannot be, it stays in its temporary folder."""
    for name, facts in known.items():
        (folder / f"{name}.json").write_text(json.dumps(facts, indent=2) + "\n")
    (folder / MARK).write_text(MARK_TEXT)
    try:
        discard(KEPT)
        shutil.copytree(folder, KEPT)
    except OSError:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    return KEPT


def discard(folder: Path = KEPT) -> None:
    """Remove what an earlier demo left; somebody else's folder of that name stays."""
    if (folder / MARK).is_file() and (folder / MARK).read_text(errors="replace") == MARK_TEXT:
        shutil.rmtree(folder, ignore_errors=True)
