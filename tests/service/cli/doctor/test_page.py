from __future__ import annotations

from service.cli.doctor.finding import fine, note, wrong
from service.cli.doctor.page import document, flat, page, sound

FOUND = [fine("a", "is well"), note("b", "to know", "do this"), wrong("c", "broken", "mend it")]


def test_what_is_to_mend_comes_before_what_is_to_know_each_with_its_line() -> None:
    lines = list(page({"port": 1}, FOUND))
    assert lines == [
        "In force", "  TASKRELAY_PORT  1", "", "Tried", "  ✓ a: is well", "", "To mend", "  ✗ c: broken", "      mend it", "",
        "To know", "  ! b: to know", "      do this", "", "Not ready: mend what is marked ✗, then run taskrelay doctor again",
    ]  # fmt: skip
    assert list(page({}, FOUND[:2]))[-1] == "All well: taskrelay serve"


def test_only_what_is_wrong_is_a_failure() -> None:
    assert sound(FOUND[:2]) and not sound(FOUND)
    assert document({}, FOUND)["ok"] is False
    assert document({}, FOUND)["findings"][1] == {"grade": "note", "about": "b", "text": "to know", "fix": "do this"}


def test_settings_are_shown_as_the_variables_that_set_them() -> None:
    shown = {"port": 1, "egress": {"ports": [443, 444], "allow": []}, "unsafe_timing": False, "public_url": None}
    assert list(flat(shown)) == [
        ("TASKRELAY_PORT", "1"),
        ("TASKRELAY_EGRESS__PORTS", "443,444"),
        ("TASKRELAY_EGRESS__ALLOW", "-"),
        ("TASKRELAY_UNSAFE_TIMING", "false"),
        ("TASKRELAY_PUBLIC_URL", "-"),
    ]
