"""Every metric of a replica, declared in one place: its name, its unit, what it counts and by which labels.

Labels come from closed sets (providers, accounts, models of the catalogue, routes, our own words), never from ids. Each replica
has its own; gauges that say "of the database" are the same from every replica: take their maximum, not their sum.

Measured: to count costs 0.35 µs, to observe a span 0.7 µs, both with the look-up of the labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Generic, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from service import __version__

M = TypeVar("M", Counter, Gauge, Histogram)

REGISTRY: Final = CollectorRegistry(auto_describe=True)
MOST: Final = 2_000  # label combinations of one metric; whatever comes then is `other`
QUICK: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
SLOW: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0)
LONG: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0)

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # a sample more for each, of the moment it was first counted


class Family(Generic[M]):
    """One metric with labels. A child is found by its values in one look-up; the library's own way takes five times as long."""

    __slots__ = ("_children", "label_names", "metric", "name")

    def __init__(self, metric: M, label_names: tuple[str, ...], name: str = "") -> None:
        self.metric: M = metric
        self.name = name
        self.label_names = label_names
        self._children: dict[tuple[str, ...], M] = {}

    def labels(self, *values: str) -> M:
        child = self._children.get(values)
        return child if child is not None else self._make(values)

    def _make(self, values: tuple[str, ...]) -> M:
        if len(self._children) >= MOST:
            values = ("other",) * len(values)
        child: M = self.metric.labels(*values) if values else self.metric
        self._children[values] = child
        return child


def _counter(name: str, text: str, *labels: str) -> Family[Counter]:
    return Family(Counter(f"taskrelay_{name}", text, labels, registry=REGISTRY), labels, f"taskrelay_{name}")


def _gauge(name: str, text: str, *labels: str) -> Family[Gauge]:
    return Family(Gauge(f"taskrelay_{name}", text, labels, registry=REGISTRY), labels, f"taskrelay_{name}")


def _spans(name: str, text: str, buckets: Sequence[float], *labels: str) -> Family[Histogram]:
    histogram = Histogram(f"taskrelay_{name}", text, labels, registry=REGISTRY, buckets=buckets)
    return Family(histogram, labels, f"taskrelay_{name}")


# Tasks, from the order to the end

tasks_created = _counter("tasks_created", "Tasks accepted and stored.", "provider", "model")
submissions = _counter(
    "submissions",
    "Purchases tried, by what came of each: accepted, refused, deferred (not made), ambiguous (may have been made).",
    "provider",
    "account",
    "outcome",
)
submission_seconds = _spans("submission_seconds", "From the intent on disk to the provider's answer.", SLOW, "provider")
queries = _counter(
    "queries",
    "Tasks asked after, by way (poll, look_up) and by what the provider said of each.",
    "provider",
    "account",
    "way",
    "outcome",
)
query_seconds = _spans("query_seconds", "One question to a provider.", SLOW, "provider", "way")
task_ends = _counter(
    "task_ends",
    "Tasks that ended, and what told of it: push, poll, submit, deadline, person.",
    "provider",
    "account",
    "status",
    "told_by",
)
pushes_expected = _counter("pushes_expected", "Verdicts of which a push was to be expected.", "provider", "account")
pushes_missed = _counter("pushes_missed", "Of those, the ones that a poll found without a push.", "provider", "account")
unconfirmed = _counter("unconfirmed", "Purchases whose fate became unknown.", "provider", "account")

# Callbacks

callbacks = _counter(
    "callbacks",
    "Pushes at the callback door: kept, orphan (nobody knows its task), unknown (no good token), too_large, encoded, too_slow,"
    " not_post, unavailable (not stored), error, gone (its sender went away).",
    "provider",
    "result",
)
callback_seconds = _spans("callback_seconds", "From a push's first byte to its answer, on disk.", QUICK)
callback_relay_seconds = _spans(
    "callback_relay_seconds",
    "From a push at the door to a subscriber's 2xx at the first attempt, where both happened in this process.",
    LONG,
)

# Deliveries

attempts = _counter(
    "attempts",
    "Delivery attempts, by class of answer (2xx … 5xx) or of failure (dns, refused, tls, timeout, blocked, …).",
    "result",
)
attempt_seconds = _spans("attempt_seconds", "One delivery attempt.", (*QUICK, 15.0))
deliveries = _counter(
    "deliveries",
    "Deliveries after an attempt: delivered, pending (tried again later), exhausted, quarantined, canceled.",
    "outcome",
)
endpoint_alarms = _counter("endpoint_alarms", "Endpoints that fail and were told of, or were disabled.", "kind")

# Lanes

lanes_owned = _gauge("lanes_owned", "Lanes this process owns.", "kind")
lanes_claimed = _counter("lanes_claimed", "Lanes this process took.", "kind")
lanes_lost = _counter("lanes_lost", "Lanes this process found to be somebody else's, or its lease over.", "kind")
lanes_mended = _counter("lanes_mended", "Lanes that had work and no time. Above 0 is a bug of ours.")
lanes_waiting = _gauge("lanes_waiting", "Lanes that are due and owned by nobody, up to 1,000; of the database.", "kind")
oldest_due_seconds = _gauge(
    "oldest_due_seconds",
    "For how long the oldest work that is due has waited, of the 200 lanes that are due longest; of the database.",
    "kind",
)
account_oldest_due_seconds = _gauge(
    "account_oldest_due_seconds",
    "For how long an account's oldest work that is due has waited; of the database.",
    "account",
)
open_tasks = _gauge("open_tasks", "Open tasks, counted up to 10,000 a status; of the database.", "account", "status")
breaker_open = _gauge(
    "breaker_open", "1 while an account keeps failing and is only probed; of the database.", "account"
)
account_paused = _gauge("account_paused", "1 while nothing is bought through an account; of the database.", "account")
account_pushes_missing = _gauge(
    "account_pushes_missing", "1 while an account's pushes are expected and none arrives; of the database.", "account"
)
endpoint_breakers_open = _gauge(
    "endpoint_breakers_open",
    "Endpoints that keep failing and are only probed, among 1,000 with something to do; of the database.",
)
callback_miss_ratio = _gauge(
    "callback_miss_ratio",
    "Of the verdicts of the last hour (500 at most), the share without a push; NaN without any; of the database.",
    "provider",
)
gauges_read_seconds = _gauge("gauges_read_timestamp_seconds", "When the gauges of the database were last read.")
gauges_failed = _counter("gauges_failed", "Times the gauges of the database could not be read; they stay as they were.")

# The HTTP interface

http_requests = _counter(
    "http_requests", "Requests answered, by route and class of status.", "method", "route", "status"
)
http_request_seconds = _spans(
    "http_request_seconds", "From a request's headers to the end of its answer.", QUICK, "route"
)
http_problems = _counter("http_problems", "Requests refused, by the code of the problem.", "code")

# The process and its database

loop_lag_seconds = _spans("loop_lag_seconds", "How late the event loop was, looked at four times a second.", QUICK)
database_waiting = _gauge("database_waiting_writes", "Writes that wait for their turn.")
database_commit_seconds = _spans("database_commit_seconds", "One commit of a group of writes, on disk.", QUICK)
database_group_writes = _spans(
    "database_group_writes", "Writes in one commit.", (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
)
egress_blocked = _counter("egress_blocked", "Requests we refused to make: the address may not be called.", "side")
retention_removed = _counter("retention_removed", "Rows taken away because their time is over.", "what")
duty_failures = _counter("duty_failures", "Duties that failed and were tried again.", "duty")
log_lines_dropped = _counter("log_lines_dropped", "Lines of the log that nobody read in time.")
build_info = _gauge("build_info", "1; the release is the label.", "version")

build_info.labels(__version__).set(1)
ProcessCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)


def text() -> bytes:
    """Everything, in Prometheus' text format."""
    return prometheus_client.generate_latest(REGISTRY)


CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
