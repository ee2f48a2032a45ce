"""The headers an endpoint's owner may have sent along: what they may be called and hold.

They may carry the receiver's own credentials. They may not touch how the message is framed, what we sign, or who we say we are.
"""

from __future__ import annotations

import re
from typing import Final

MOST: Final = 20
LONGEST_NAME: Final = 100
LONGEST_VALUE: Final = 2000
TOTAL: Final = 8192

NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)  # RFC 9110 §5.6.2
VALUE: Final = re.compile(r"[!-~](?:[ \t!-~]*[!-~])?", re.ASCII)

OURS: Final = frozenset({"content-type", "user-agent", "accept-encoding", "date"})
TRACE: Final = frozenset({"traceparent", "tracestate", "baggage"})  # W3C: they say to which trace a request belongs
FRAMING: Final = frozenset({"host", "content-length", "content-encoding", "transfer-encoding", "expect"})
HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "te", "trailer", "upgrade"})  # RFC 9110 §7.6.1
ORIGIN: Final = frozenset({"forwarded", "via", "x-real-ip"})  # who sent it, for receivers that believe their proxies
# With these frameworks take a POST for a DELETE, also on a private network that the operator opened for events alone.
METHOD: Final = frozenset({"x-http-method-override", "x-http-method", "x-method-override"})
PREFIXES: Final = ("webhook-", "proxy-", "taskrelay-", "x-forwarded-")
REFUSED: Final = OURS | TRACE | FRAMING | HOP_BY_HOP | ORIGIN | METHOD


def fault(name: str, value: object) -> str | None:
    """Why this header cannot be sent along; None when it can."""
    if not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        return f"This is no header name: letters, digits and hyphens, at most {LONGEST_NAME}."
    lower = name.lower()
    if lower in REFUSED or lower.startswith(PREFIXES):
        return f"{lower} is set by taskrelay or by the connection. Leave it out."
    if not isinstance(value, str):
        return "This must be text, in quotes."
    if len(value) > LONGEST_VALUE or not VALUE.fullmatch(value):
        return f"This must be 1 to {LONGEST_VALUE} visible ASCII characters on one line, without blanks around them."
    return None
