"""Named places at which a test may have this process killed, as power loss would. Nothing happens unless one is armed.

`TASKRELAY_FAILPOINT=after_intent` kills at the first arrival, `after_intent:3` at the third.
"""

from __future__ import annotations

import os
import signal

POINTS = (
    "after_create",  # the task is stored, its client has no answer yet
    "after_intent",  # the purchase is announced on disk, nothing was sent
    "after_reply",  # the provider answered, nothing of that is stored
    "after_submitted",  # the answer is stored
    "after_push",  # a push is stored, the provider has no answer yet
    "after_query",  # the provider answered a query, nothing of that is stored
    "after_verdict",  # the end, its event and its deliveries are stored, nothing was sent
    "after_post",  # the subscriber answered, nothing of that is stored
    "after_settle",  # the delivery is stored as made
)

_armed: dict[str, int] = {}


def arm(text: str | None) -> None:
    """Arm one point, or none. Raises ValueError for a name that does not exist."""
    _armed.clear()
    if not text:
        return
    name, _, times = text.partition(":")
    if name not in POINTS:
        raise ValueError(f"there is no fail-point {name!r}; there is {', '.join(POINTS)}")
    _armed[name] = int(times or 1)


def reach(name: str) -> None:
    """Die here, without a word, if this point is armed and it is its turn."""
    if _armed and name in _armed:
        _armed[name] -= 1
        if _armed[name] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
