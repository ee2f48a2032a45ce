"""Puts the parts together: the one place that knows settings, engines and network clients at the same time."""
