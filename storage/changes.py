"""What changed, for who waits: the versions of many tasks and the ends of many feeds in one look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from storage.database import Connection

TASKS = """
    SELECT id, version FROM tasks WHERE id IN (SELECT /*sqlite:*/ value FROM json_each(:keys) /*postgres: unnest(:keys::text[]) */)
"""
FEEDS = """
    SELECT wanted.value, (SELECT max(position) FROM events WHERE project_id = wanted.value)
      FROM /*sqlite:*/ json_each(:keys) AS wanted /*postgres: unnest(:keys::text[]) AS wanted (value) */
"""


async def versions(tx: Connection, keys: Sequence[str]) -> dict[str, int]:
    """`keys`: ids of tasks and of projects. Of each a number that differs once there is news; what is not there has none."""
    given = {"keys": list(keys)}
    tasks: list[Any] = await tx.fetch(TASKS, given)
    feeds: list[Any] = await tx.fetch(FEEDS, given)
    return {key: version for key, version in (*feeds, *tasks) if version is not None}
