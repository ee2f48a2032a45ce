"""What may lead to a lost purchase: which callback URLs are ours, when it must have been made, which job a push named."""

from __future__ import annotations

import re
from collections.abc import Callable

import orjson

from service.core.ids import task_of
from service.core.times import SECOND
from service.providers.base import Clues
from storage import callbacks, submissions
from storage.database import Connection
from storage.records import Task

HINTS = 5  # jobs that pushes may name; only who knows our callback URL can name one
CLOCKS_APART_SECONDS = 300  # how far the provider's clock and ours may disagree

_TOKEN = re.compile(r"/callbacks/([a-z0-9_-]{1,64})/([^/?#\s]{1,200})\Z")


async def gather(tx: Connection, task: Task, read_token: Callable[[str, str], str | None]) -> Clues:
    """Everything we know of the task's submissions. `read_token`: the submission that a provider's callback token names, or None."""
    made = await submissions.of_task(tx, task.id)
    made_here = {submission.id for submission in made}

    def ours(url: str) -> bool:
        # Judged by the token and not by the text: a rotated key or a new public URL changes what we would write today.
        found = _TOKEN.search(url)
        if found is None or (named := read_token(found[1], found[2])) is None:
            return False
        return named in made_here or task_of(named) == task.id  # an older copy of the database does not know them all

    apart = CLOCKS_APART_SECONDS * SECOND
    return Clues(
        ours=ours,
        since=min((submission.created_at for submission in made), default=task.created_at) - apart,
        until=max((*(one.deadline_at for one in made), task.submission_deadline_at or task.created_at)) + apart,
        hinted_ids=_hinted(await callbacks.pushed(tx, task.id, batch=4 * HINTS)),
    )


def _hinted(contents: list[str]) -> tuple[str, ...]:
    named = [orjson.loads(content).get("provider_task_id") for content in contents]
    return tuple(dict.fromkeys(name for name in named if isinstance(name, str)))[:HINTS]
