"""dramatiq on Redis, with its own defaults: a process for each core, eight threads in each, retries by its middleware."""

from __future__ import annotations

import threading

import dramatiq  # type: ignore[import-not-found]
import requests
from dramatiq.brokers.redis import RedisBroker  # type: ignore[import-not-found]

from tests.bench.peers.posting import REDIS, RETRIES, URL, headers, owed

dramatiq.set_broker(RedisBroker(url=REDIS))
own = threading.local()


@dramatiq.actor(max_retries=RETRIES)  # type: ignore[untyped-decorator]
def deliver(event_id: str, text: str) -> None:
    if not hasattr(own, "session"):
        own.session = requests.Session()
    body = text.encode()
    own.session.post(URL, data=body, headers=headers(event_id, body), timeout=15).raise_for_status()


if __name__ == "__main__":
    for event_id, body in owed():
        deliver.send(event_id, body)
