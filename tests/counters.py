"""What was counted while something happened: the registry is one for the process, so tests look at differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.telemetry.metrics import REGISTRY


def sample(name: str, **labels: str) -> float:
    """A sample as it stands; 0 before it was first counted."""
    return REGISTRY.get_sample_value(f"taskrelay_{name}", labels) or 0.0


@contextmanager
def counted(name: str, **labels: str) -> Iterator[Callable[[], float]]:
    """Gives what was added since."""
    before = sample(name, **labels)
    yield lambda: sample(name, **labels) - before
