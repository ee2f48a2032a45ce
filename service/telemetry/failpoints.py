"""Named places at which a test may have this process killed, as power loss would, or stopped. Nothing happens unless one is armed.

`TASKRELAY_FAILPOINT=after_intent` kills at the first arrival, `after_intent:3` at the third, `after_intent:3:stop` stops
there (SIGSTOP) until somebody says SIGCONT. In the order of the flow: nothing before a commit may count, nothing after it
may be lost.
"""

from __future__ import annotations

import os
import signal
from typing import Final

POINTS: Final = (
    "at_start",  # the old leases are void, nothing was claimed
    "after_claim",  # lanes are ours, nobody works them yet
    "before_create_commit",  # a task is written and not committed
    "after_create",  # the task is stored, its client has no answer yet
    "before_resend",  # look-ups found nothing, the second purchase is not announced yet
    "before_intent_commit",  # a purchase is decided, not announced on disk
    "after_intent",  # the purchase is announced on disk, nothing was sent
    "before_write",  # the connection to the provider is made, its guard has not looked at the clock
    "after_send",  # the purchase is with the kernel, no byte of the answer was read
    "after_reply",  # the provider answered, nothing of that is stored
    "after_submitted",  # the answer is stored
    "before_push",  # a push was read, nothing of it is stored
    "after_push",  # a push is stored, the provider has no answer yet
    "after_query",  # the provider answered a query, nothing of that is stored
    "after_look_up",  # the provider answered a look-up, nothing of that is stored
    "after_look_up_stored",  # the answer is stored
    "before_record_commit",  # tasks, timeline, events and deliveries are written and not committed
    "after_verdict",  # the end, its event and its deliveries are stored, nothing was sent
    "before_post",  # a delivery is signed, nothing was sent
    "after_post",  # the subscriber answered, nothing of that is stored
    "before_settle_commit",  # the delivery is written as made and not committed
    "after_settle",  # the delivery is stored as made
    "before_release_commit",  # an idle lane is written as nobody's and not committed
    "after_release",  # the lane is nobody's
    "at_stop",  # told to stop, nothing was finished
    "after_stop",  # everything was finished and given back, the database is still open
)

_armed: dict[str, int] = {}
_signal = signal.SIGKILL


def arm(text: str | None) -> None:
    """Arm one point, or none. Raises ValueError for a name that does not exist."""
    global _signal
    _armed.clear()
    if not text:
        return
    name, *rest = text.split(":")
    times, *what = rest or ["1"]
    if name not in POINTS:
        raise ValueError(f"there is no fail-point {name!r}; there is {', '.join(POINTS)}")
    if not (times.isdecimal() and int(times) > 0 and what in ([], ["stop"])):
        raise ValueError(f"FAILPOINT is a name, then :N for the Nth arrival, then :stop; not {text!r}")
    _armed[name] = int(times)
    _signal = signal.SIGSTOP if what else signal.SIGKILL


def reach(name: str) -> None:
    """Die here, without a word, if this point is armed and it is its turn."""
    if _armed and name in _armed:
        _armed[name] -= 1
        if _armed[name] == 0:
            os.kill(os.getpid(), _signal)
