"""What holds for every test."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from tests import engines, surroundings, thrift

surroundings.plain()  # before anything looks at a terminal
surroundings.heard()
thrift.folders()
thrift.collecting()

# The same examples on every run, so that a red test is a change and not a draw; `HYPOTHESIS_PROFILE=explore` looks for new ones.
# No deadline: on a shared machine a single example may wait for others.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On the other engine, what is the embedded one's own is skipped and counted, so that the last line tells how much that is."""
    thrift.order(items)
    if engines.POSTGRES:
        for item in items:
            if (own := item.get_closest_marker("sqlite")) is not None:
                item.add_marker(pytest.mark.skip(reason=f"SQLite's own: {own.args[0]}"))


def pytest_collection_finish() -> None:
    thrift.collected()


def pytest_runtest_teardown() -> None:
    engines.release()


def pytest_unconfigure() -> None:
    engines.close()
