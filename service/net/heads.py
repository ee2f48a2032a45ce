"""What a request's head must not say: whatever two readers of the same bytes could understand differently.

The parser (llhttp) refuses by itself two lengths, a length beside chunks, folded lines, bare line feeds, and NUL and controls. It lets
through what is here (each seen against the running service).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from service.net import refusals
from service.net.refusals import Refusal

HOST = re.compile(rb"(?:[A-Za-z0-9._~%-]*|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._~-]+)?\])(?::[0-9]{0,5})?")


def fault_of(method: bytes, target: bytes, version: str, headers: Sequence[tuple[bytes, bytes]]) -> Refusal | None:
    """Why this request is not read; None when it is. Names of headers are in lower case."""
    if version not in ("1.1", "1.0"):  # 0.9 has no headers, and llhttp takes 2.0
        return refusals.VERSION
    if method == b"CONNECT":
        return refusals.METHOD
    if not _is_ours(method, target):
        return refusals.TARGET
    hosts = codings = 0
    for name, value in headers:  # each request comes through here: one pass
        if name == b"host":
            hosts += 1
            if HOST.fullmatch(value) is None:
                return refusals.HOST
        elif name == b"transfer-encoding":
            codings += 1
            if value.lower() != b"chunked" or version != "1.1" or codings > 1:
                return refusals.CODING
    # Without one a proxy and we might not speak of the same house; HTTP/1.0 had none.
    return refusals.HOST if hosts > 1 or (not hosts and version == "1.1") else None


def _is_ours(method: bytes, target: bytes) -> bool:
    if b"#" in target:
        return False
    return target.startswith((b"/", b"http://", b"https://")) or (target == b"*" and method == b"OPTIONS")
