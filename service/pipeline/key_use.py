"""When each key was used last: kept in memory, written once a minute in one batch, never on a request's way."""

from __future__ import annotations

from storage import api_keys
from storage.database import Database, behind
from storage.records import ApiKey

EVERY_SECONDS = 60.0


class KeyUse:
    """The keys that were used since the last write, by this process. No more than there are keys: only a good one is noted."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}

    def note(self, key_id: str, now: int) -> None:
        self._used[key_id] = now

    def last(self, key: ApiKey) -> int | None:
        """The last use that this process knows of."""
        return max(key.last_used_at or 0, self._used.get(key.id, 0)) or None

    async def store(self, database: Database) -> int:
        """Write what was noted. A kill loses a minute of it; a database that refuses, nothing."""
        used, self._used = self._used, {}
        if not used:
            return 0
        try:
            return await database.write(behind(lambda tx: api_keys.note_use(tx, used), api_keys.ROWS))
        except BaseException:
            self._used = {**used, **self._used}
            raise
