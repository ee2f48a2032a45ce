from __future__ import annotations

import io

import pytest
from rich.console import Console

from service.cli import progress
from service.cli.progress import counting


@pytest.mark.parametrize(
    ("terminal", "quiet", "shown"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_a_bar_is_drawn_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, quiet: bool, shown: bool
) -> None:
    screen = Console(file=io.StringIO(), force_terminal=terminal)
    monkeypatch.setattr(progress, "console", lambda stderr: screen)
    with counting("sending again", 2, quiet=quiet) as add:
        for _ in range(2):
            add(1)
    said = screen.file.getvalue()  # type: ignore[attr-defined]
    assert ("2/2" in said) is shown
