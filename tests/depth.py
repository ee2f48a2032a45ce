"""How many examples a property is tried with: a quarter on every run, all of them where CI looks closer (`make fuzz`)."""

from __future__ import annotations

import os

CLOSER = "FUZZ_EXAMPLES" in os.environ


def examples(thorough: int) -> int:
    return thorough if CLOSER else thorough // 4
