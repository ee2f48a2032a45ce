"""Whether anybody would hear that an account was paused, refused, or is pushed to no more: said at the start and by `doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from storage.database import Database

UNHEARD = "no endpoint takes account.*: that an account is refused or its pushes are missing is only in the log"
SUBSCRIBE = "taskrelay endpoints create URL --event 'account.*' --event 'endpoint.*'"


async def unheard(database: Database, now: int) -> tuple[str, str] | None:
    """What to know and what to do, when nobody subscribes to events of accounts."""
    from storage import endpoints

    found = await database.read(lambda tx: endpoints.naming_accounts(tx, now=now, batch=1))
    return None if found else (UNHEARD, SUBSCRIBE)
