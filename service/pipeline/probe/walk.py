"""Reads a reply again through its adapter, without asking anybody."""

from __future__ import annotations

from typing import TypeVar

from service.providers.base import BadReply, Flow, Reply

T = TypeVar("T")
MOST_ASKED = 20  # a look-up that pages never finds an end in one and the same reply


def walked(flow: Flow[T], reply: Reply) -> T | None:
    """What the flow makes of the reply, given to everything it asks; None when it cannot be read."""
    try:
        next(flow)
        for _ in range(MOST_ASKED):
            flow.send(reply)
    except StopIteration as done:
        result: T = done.value
        return result
    except BadReply:
        return None
    finally:
        flow.close()
    return None
