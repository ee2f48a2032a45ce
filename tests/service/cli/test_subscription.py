from __future__ import annotations

from pathlib import Path

import pytest

from service.cli.subscription import endpoint_lines, pairs, seconds, secret_in
from service.cli.terminal import Stop


def test_pairs_keep_all_values_of_a_name_where_many_are_meant() -> None:
    assert pairs("--header", ["a=1", "b=x=y", "a=2"]) == {"a": "2", "b": "x=y"}
    assert pairs("--metadata", ["shop=eu-*", "shop=us"], many=True) == {"shop": ["eu-*", "us"]}


def test_what_is_no_pair_is_refused_without_repeating_it() -> None:
    for wrong in ("authorization", "=secret"):
        with pytest.raises(Stop, match="--header: write name=value") as stop:
            pairs("--header", [wrong])
        assert wrong not in stop.value.text.removeprefix("--header: write name=value")


def test_a_schedule_is_whole_seconds() -> None:
    assert seconds("5, 300") == [5, 300]
    with pytest.raises(Stop, match="whole seconds"):
        seconds("5m")


def test_a_secret_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert secret_in(None) == {}
    with pytest.raises(Stop, match="nowhere"):
        secret_in(tmp_path / "nowhere")


def test_an_endpoint_is_shown_with_what_it_has() -> None:
    shown = endpoint_lines(
        {
            "id": "ep_1", "status": "disabled", "url": "https://a.example/", "events": ["task.failed"], "format": "standard",
            "filter": {"model": ["kling-*", "x"], "metadata": {"shop": ["eu"]}}, "headers": {"x-key": "****"},
            "max_in_flight": 8, "rate_limit": 20, "retry_schedule": [5, 300], "disabled_reason": "gone",
            "inactive_since": "2026-01-01T00:00:00Z", "failing_since": None,
        }
    )  # fmt: skip
    assert shown == [
        "ep_1  disabled  https://a.example/",
        "  events     task.failed",
        "  filter     model kling-* or x; metadata.shop eu",
        "  format     standard",
        "  headers    x-key",
        "  sending    8 at a time, 20 a second",
        "  retries    5 s, 300 s",
        "  why        gone",
        "  inactive   since 2026-01-01T00:00:00Z",
    ]
