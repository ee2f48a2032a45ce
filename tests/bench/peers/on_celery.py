"""Celery on Redis. As its guide to optimizing says for many short tasks: results ignored, many messages fetched ahead, and each
acknowledged before it is worked on, its default."""

from __future__ import annotations

import threading
from typing import Any

import requests
from celery import Celery  # type: ignore[import-not-found]

from tests.bench.peers.posting import IN_FLIGHT, REDIS, RETRIES, URL, headers, owed

app = Celery("peer", broker=REDIS)
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=IN_FLIGHT,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    broker_connection_retry_on_startup=True,
)
own = threading.local()


@app.task(name="deliver", bind=True, max_retries=RETRIES)  # type: ignore[untyped-decorator]
def deliver(self: Any, event_id: str, text: str) -> None:
    if not hasattr(own, "session"):
        own.session = requests.Session()
    body = text.encode()
    try:
        own.session.post(URL, data=body, headers=headers(event_id, body), timeout=15).raise_for_status()
    except requests.RequestException as error:
        raise self.retry(exc=error, countdown=5) from error


if __name__ == "__main__":
    with app.producer_pool.acquire() as producer:
        for event_id, body in owed():
            deliver.apply_async((event_id, body), producer=producer)
