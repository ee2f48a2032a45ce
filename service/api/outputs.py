"""GET /o/{token}: to the output at its provider. The file itself never passes through here.

Needs no key, because the token is one. A link that has died is renewed first: one query for all who follow it at once, over
the account's own lane and within its rate.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response

from service.api.context import Context
from service.api.problems import Problem
from service.core import links
from service.core.care import holds_of
from service.core.lifecycle import Outcome
from service.core.links import Standing
from service.core.observation import Claim, Observation, Reading, Source
from service.core.schedule import Breaker
from service.core.times import SECOND, iso
from storage import lanes, tasks
from storage.database import Connection
from storage.records import LaneKind, Task

WAIT_SECONDS = 10.0
WAIT_DOUBTFUL_SECONDS = 3.0  # where the old link may do
ASKING_AT_ONCE = 200  # tasks; each holds one waiter of the watch
REMEMBERED = 10_000  # tasks that were lately asked after
TOO_OLD = (Standing.DEAD, Standing.DOUBTFUL)


class NotAsked(Exception):
    """Why its provider is not asked just now, and from when on it may be worth coming back."""

    def __init__(self, why: str, at: int) -> None:
        super().__init__(why)
        self.at = at


class Outputs:
    """The route. Holds the questions under way in this process, and when the last ones were asked."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._asking: dict[str, asyncio.Task[Task | None]] = {}
        self._asked_at: dict[str, int] = {}

    async def output(self, request: Request) -> Response:
        """Where the output is now; 410 once its provider has it no more, 503 while no link that is good is known."""
        task_id = self._context.tokens.read_output(request.path_params["token"])
        task = await self._read(task_id) if task_id is not None else None
        why, at = "", 0
        if task_id and task is not None and links.standing(task, self._context.clock()) in TOO_OLD:
            try:
                task = await self._renewed(task)
                why = (
                    ""
                    if task is None
                    else f"{task.provider} {'shows none' if task.streak else 'gave no new one in time'}."
                )
                at = self._context.clock() + links.again_after(Standing.DEAD)
            except NotAsked as reason:
                why, at = str(reason), reason.at
                task = await self._read(task_id)  # others may have got a new link since it was read
        if task is None:
            raise Problem("not_found", "There is nothing at this link.")
        return self._told(task, why, at)

    def _told(self, task: Task, why: str, at: int) -> Response:
        match links.standing(task, self._context.clock()):
            case Standing.NONE:
                raise Problem("output_gone", "There is no output here, or none any more.")
            case Standing.GONE:
                raise Problem("output_gone", _gone(task))
            case Standing.DEAD:
                seconds = math.ceil((at - self._context.clock()) / SECOND)
                raise Problem(
                    "output_unavailable",
                    f"The provider's link to this output has expired. {why} The output may still be there: come back later.",
                    headers={"retry-after": str(min(max(seconds, 1), 3600))},
                )
            case _:  # live; or of an age at which nobody knows, and nothing better is known
                headers = {"referrer-policy": "no-referrer", "cache-control": "no-store"}
                return Response(status_code=302, headers={"location": task.outputs[0].url, **headers})

    async def _read(self, task_id: str) -> Task | None:
        return (await self._context.database.read(lambda tx: tasks.read(tx, [task_id]))).get(task_id)

    # Asking for another link

    async def _renewed(self, task: Task) -> Task | None:
        """The task after its provider was asked, or as it is when no answer came. All who want it wait for one question."""
        asking = self._asking.get(task.id)
        if asking is None:
            self._may_ask(task)
            asking = self._asking[task.id] = asyncio.create_task(self._ask(task))
            asking.add_done_callback(lambda ended: self._ended(task.id, ended))
        # A reader who goes away must not take the answer away from the others.
        return await asyncio.shield(asking)

    def _may_ask(self, task: Task) -> None:
        now = self._context.clock()
        if not links.renewable(task):
            raise NotAsked("It cannot be asked for again.", now + 3600 * SECOND)
        if task.account not in self._context.accounts:
            why = f"Its account {task.account} is no longer configured here, so nobody can be asked for a new one."
            raise NotAsked(why, now + 3600 * SECOND)
        pause = links.again_after(links.standing(task, now))
        again_at = max(self._asked_at.get(task.id, 0) + pause, links.ask_at(task, now))
        if again_at > now:
            raise NotAsked(f"{task.provider} was asked for a new one and gave none.", again_at)
        if len(self._asking) >= ASKING_AT_ONCE:
            raise NotAsked("Too many are being asked for at once.", now + SECOND)

    async def _ask(self, task: Task) -> Task | None:
        """Ring for a query, and wait for what it brings."""
        await self._reachable(task)
        self._note(task.id)
        wanted = Observation(
            task_id=task.id,
            source=Source.READER,
            reading=Reading(claim=Claim.WANTED),
            at=self._context.clock(),
            verified=False,
        )
        recorded = await self._context.recorder.record(wanted)
        doubtful = links.standing(task, self._context.clock()) is Standing.DOUBTFUL
        return await self._context.watch.until(
            task.id,
            lambda: self._read(task.id),
            lambda seen: seen is None or seen.version != task.version or recorded.outcome is Outcome.IGNORED,
            seconds=WAIT_DOUBTFUL_SECONDS if doubtful else WAIT_SECONDS,
        )

    async def _reachable(self, task: Task) -> None:
        """Whoever must not ask the provider now says so at once, and leaves no question behind."""

        async def unit(tx: Connection) -> tuple[int | None, int, str | None]:
            lane = await lanes.get(tx, LaneKind.ACCOUNT, task.account)
            held = holds_of(lane).queries
            return Breaker.load(lane.breaker).next_probe_at if lane is not None else None, held.until, held.reason

        probe_at, held_until, reason = await self._context.database.read(unit)
        now = self._context.clock()
        if held_until > now:
            said = reason or "the provider asked us to wait"
            raise NotAsked(f"{task.provider} is not asked before {iso(held_until)}: {said}.", held_until)
        if probe_at is not None and probe_at > now:
            raise NotAsked(f"{task.provider} keeps failing and is not asked before {iso(probe_at)}.", probe_at)

    def _note(self, task_id: str) -> None:
        if len(self._asked_at) >= REMEMBERED:
            oldest = self._context.clock() - links.AGAIN_UNANNOUNCED_SECONDS * SECOND
            self._asked_at = {known: at for known, at in self._asked_at.items() if at > oldest}
        self._asked_at[task_id] = self._context.clock()

    def _ended(self, task_id: str, ended: asyncio.Task[Task | None]) -> None:
        del self._asking[task_id]
        with suppress(asyncio.CancelledError):
            ended.exception()  # everybody who waited has heard it; perhaps nobody waits any more


def _gone(task: Task) -> str:
    gone_at = task.outputs[0].gone_at
    since = f", as it says since {iso(gone_at)}" if gone_at is not None else ""
    return f"{task.provider} has this output no more{since}. The last link it gave stays in the task's outputs."
