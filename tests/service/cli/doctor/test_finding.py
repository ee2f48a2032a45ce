from __future__ import annotations

from service.cli.doctor.finding import Grade, fine, note, wrong


def test_everything_but_what_is_fine_has_a_line_that_mends_it() -> None:
    assert (fine("a", "t").grade, fine("a", "t").fix) == (Grade.FINE, None)
    assert [(one.grade, one.fix) for one in (note("a", "t", "f"), wrong("a", "t", "f"))] == [
        ("note", "f"),
        ("wrong", "f"),
    ]
