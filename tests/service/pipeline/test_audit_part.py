"""The ledger adds up, and names only as much as a person reads."""

from __future__ import annotations

from service.pipeline import audit_part
from service.pipeline.audit_part import COUNTS, LISTED, Part


def test_parts_add_up_to_a_whole() -> None:
    whole, one, two = Part(), Part(), Part()
    one.counts.update(owed=2, delivered=1, pending=1)
    one.waits_until(9)
    two.counts.update(owed=1, pending=1)
    two.waits_until(5)
    two.accuse("end_untold", "nobody was told", task="task_1")
    for part in (one, two, Part()):
        whole.add(part)
    assert whole.counts == {"owed": 3, "delivered": 1, "pending": 2, "unexplained": 1}
    assert (whole.next_at, [one.names for one in whole.unexplained]) == (5, [{"task": "task_1"}])


def test_all_are_counted_and_so_many_are_named() -> None:
    whole, part = Part(), Part()
    for number in range(LISTED + 5):
        part.accuse("orphan", f"{number}")
        part.doubt("metadata_gone", f"{number}")
    for _ in range(2):
        whole.add(part)
    assert (whole.counts["unexplained"], len(whole.unexplained)) == (2 * LISTED + 10, LISTED)
    assert (whole.counts["unknown"], len(whole.unknown)) == (2 * LISTED + 10, LISTED)


def test_what_is_counted_is_in_the_ledger() -> None:
    """Every word that a part counts is a line of the answer; deliveries count by their status."""
    assert {"unexplained", "unknown", "missing", "orphans", "adrift"} <= set(COUNTS)
    assert len(set(COUNTS)) == len(COUNTS) and audit_part.CANNOT_BE_KNOWN
