"""Notices accounts whose pushes are expected and do not arrive: a tunnel that is down, a firewall, a URL that changed.

Nothing is lost by it, because polling is never off; ends are known later, and a provider is asked more than it need be.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping

from service.core.care import JUDGED_BY, care_of, silent
from service.core.times import HOUR, MINUTE
from service.pipeline import account_events
from service.pipeline.accounts import AccountDesk
from service.pipeline.ledger import Ledger
from service.pipeline.recorder import Recorder
from storage import ends, lanes
from storage.database import Connection, Database
from storage.records import LaneKind

log = logging.getLogger("taskrelay.account")

EVERY_SECONDS = 60.0
OVER = 6 * HOUR  # what is older says nothing of now
GRACE = 2 * MINUTE  # a push may come a little after the poll that found its end
EVENTS = 2_000  # of the feed's newest


class Silence:
    """Run once a minute. All it knows is in the rows, so any replica may run it, and several do no harm."""

    def __init__(
        self,
        database: Database,
        recorder: Recorder,
        accounts: Mapping[str, AccountDesk],
        *,
        clock: Callable[[], int],
    ) -> None:
        self._database = database
        self._recorder = recorder
        self._accounts = {name: account for name, account in accounts.items() if account.pushes}
        self._clock = clock

    async def run_once(self) -> int:
        """Judge every account that should be pushed to. Never counts as work: it rests after each look."""
        if not self._accounts:
            return 0
        now = self._clock()

        async def look(tx: Connection) -> tuple[dict[str, list[bool]], dict[str, bool]]:
            pushed: dict[str, list[bool]] = defaultdict(list)
            for end in await ends.latest(tx, since=now - OVER, most=EVENTS):
                if end.at <= now - GRACE:
                    pushed[end.account].append(end.pushed)
            before = {}
            for name in self._accounts.keys() & pushed.keys():
                before[name] = care_of(await lanes.get(tx, LaneKind.ACCOUNT, name)).silent_since is not None
            return pushed, before

        pushed, before = await self._database.read(look)
        for name, known in sorted(before.items()):
            if (found := silent(known, pushed[name])) is not known:
                await self._note(self._accounts[name], found)
        return 0

    async def _note(self, account: AccountDesk, silent: bool) -> None:
        if silent:
            log.error(
                "account %s: none of its last %d ends was pushed, all were polled. Is %s reachable from outside?",
                account.account.name,
                JUDGED_BY,
                account.public_url,
            )

        async def unit(tx: Connection, ledger: Ledger) -> bool:
            return await account_events.note_silence(tx, ledger, account, silent=silent, ends=JUDGED_BY)

        await self._recorder.write(unit, locks=(LaneKind.ACCOUNT, account.account.name))
