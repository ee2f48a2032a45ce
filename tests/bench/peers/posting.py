"""What every Python peer does for a delivery, and what fills its queue. Runs in the peers' environment: nothing of ours is imported."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import time
from collections.abc import Iterator
from pathlib import Path

KEY = b"k" * 24
REDIS = os.environ["PEER_REDIS"]
URL = os.environ["PEER_URL"]
IN_FLIGHT = 64
RETRIES = 9


def owed() -> Iterator[tuple[str, str]]:
    """Event ids, and the body that all of them carry."""
    body = Path(os.environ["PEER_BODY"]).read_text()
    for number in range(int(os.environ["PEER_COUNT"])):
        yield f"evt_{number:026d}", body


def headers(event_id: str, body: bytes) -> dict[str, str]:
    """Standard Webhooks headers of one attempt."""
    stamp = str(int(time.time()))
    digest = hmac.digest(KEY, f"{event_id}.{stamp}.".encode() + body, hashlib.sha256)
    return {
        "content-type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
        "user-agent": "bench",
    }
