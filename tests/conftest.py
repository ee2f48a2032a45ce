"""What holds for every test."""

from __future__ import annotations

import os

from hypothesis import settings

# The same examples on every run, so that a red test is a change and not a draw; `HYPOTHESIS_PROFILE=explore` looks for new ones.
# No deadline: on a shared machine a single example may wait for others.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))
