"""What the tests find where they are started is none of theirs, nor of the processes they start: variables, ignored signals."""

from __future__ import annotations

import os
import signal
from collections.abc import MutableMapping

# How wide a terminal is, and what makes a program take a pipe for one (https://force-color.org, https://no-color.org).
PAINTING = frozenset(
    {"CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "FORCE_COLOR", "GITHUB_ACTIONS", "LINES", "NO_COLOR", "PY_COLORS"}
    | {"TERM", "TERMINAL_WIDTH", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}
)
HERE = "127.0.0.1,localhost"


def plain(environment: MutableMapping[str, str] = os.environ) -> None:
    """Take out what would change what is told, and a real taskrelay's settings; keep a proxy away from this machine alone.

    A proxy for elsewhere stays: some tests fetch what their pages say to install.
    """
    for name in list(environment):
        if name in PAINTING or name.upper().startswith("TASKRELAY_"):
            del environment[name]
    for name in ("NO_PROXY", "no_proxy"):
        environment[name] = ",".join(filter(None, (environment.get(name), HERE)))


def heard() -> None:
    """Signals that whoever started us ignores, as `nohup` and a shell's `&` do, would be ignored by every process we start."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
