"""Why nothing can be started as it is configured."""

from __future__ import annotations


class StartError(Exception):
    """The service cannot start as it is configured; the text says what to do."""
