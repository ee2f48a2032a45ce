from __future__ import annotations

import time

from storage import clocks
from storage.database import Database


async def test_it_is_the_time_that_leases_run_by(database: Database, url: str) -> None:
    ours = 1_790_000_000_000_000
    found = await database.read(lambda tx: clocks.now(tx, now=ours))
    if url.startswith("sqlite:"):
        assert found == ours
    else:
        assert abs(found - time.time_ns() // 1000) < 60_000_000
