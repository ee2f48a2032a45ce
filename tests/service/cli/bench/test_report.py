from __future__ import annotations

import pytest

from service.cli.bench.report import Figures, document, lines, opening, quantile

ONE = Figures(
    engine="sqlite",
    shown="in /srv",
    cores=2,
    tasks=1000,
    backlog=935,
    commits_alone=1234.5,
    commits_together=20_000,
    created=600,
    callbacks=900,
    deliveries=3000,
    took_ms=[float(number) for number in range(1, 61)],
)


@pytest.mark.parametrize(("part", "value"), [(0.0, 1.0), (0.5, 31.0), (0.99, 60.0), (1.0, 60.0)])
def test_a_quantile_is_a_value_that_was_measured(part: float, value: float) -> None:
    assert quantile(ONE.took_ms, part) == value


def test_every_figure_says_what_it_counts_and_against_which_settings() -> None:
    shown = "\n".join([*opening(ONE.engine, ONE.shown), *lines(ONE)])
    for part in ("SQLite, synchronous=FULL, in /srv", "callbacks=verify, max_in_flight=8", "1,000 tasks", "20,000 /s"):
        assert part in shown
    assert "p50 31.0 ms, p99 60.0 ms" in shown and "same cores" in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_a_program_gets_the_same() -> None:
    figures = document(ONE)["figures"]
    assert isinstance(figures, dict)
    assert figures["callback_to_subscriber_p99_ms"] == 60.0 and figures["commits_per_second"] == 1234
    assert len(figures) == 7
