"""The command. One file a group; what is heavy is imported by the command that needs it, so that `--help` is quick.

Nothing is imported here but what stops quietly: Ctrl-C may come while the rest is still being loaded.
"""

import os
import signal
import sys
from types import FrameType

__all__ = ["main"]

INTERRUPTED = 130


def main() -> None:
    """Run one command and end with its exit code (`terminal`)."""
    heard = (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )  # else: started with it switched off, by nohup
    if heard:
        signal.signal(signal.SIGINT, _leave)
    from service.cli.app import run

    code = run(sys.argv[1:], interruptible=heard)
    if heard:
        signal.signal(signal.SIGINT, _leave)
    sys.exit(code)


def _leave(number: int, frame: FrameType | None) -> None:
    """Before a command began and after it ended there is nothing to undo. An exception could end up in any import."""
    os._exit(INTERRUPTED)
