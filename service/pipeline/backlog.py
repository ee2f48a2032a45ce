"""What waits in a lane's memory: deliveries never tried and deliveries to be tried again, apart, so that neither starves the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from storage.outbox import Due

# Deliveries of one lane in memory at most.
FIRST_ROOM = 192
AGAIN_ROOM = 64
AGAIN_EVERY = 4  # of what starts, every fourth is a retry while both wait


class Half:
    """One of the two queues. `more`: the database may hold due rows that are not in memory."""

    __slots__ = ("low", "missed", "more", "room", "waiting")

    def __init__(self, room: int) -> None:
        self.room = room
        self.low = max(room // 4, 1)
        self.waiting: deque[Due] = deque()
        self.more = True
        self.missed = False  # a delivery came that was not taken; a read under way may not have seen it

    @property
    def hungry(self) -> bool:
        return self.more and len(self.waiting) < self.low


class Backlog:
    """Both queues of a lane, and what of them is known: waiting, in flight, or not yet settled."""

    def __init__(self) -> None:
        self.firsts = Half(FIRST_ROOM)
        self.agains = Half(AGAIN_ROOM)
        self.known: dict[str, int] = {}  # with when its schedule began; the reader skips these
        self._overtaken: set[str] = set()  # of them, those that were restarted since
        self._turn = 0

    def __len__(self) -> int:
        return len(self.firsts.waiting) + len(self.agains.waiting)

    @property
    def hungry(self) -> bool:
        return self.firsts.hungry or self.agains.hungry

    def look_again(self) -> None:
        """Something became due."""
        self.firsts.more = self.agains.more = True

    def offer(self, due: Due) -> bool:
        """Take a new delivery, unless older ones wait in the database or memory is full."""
        firsts = self.firsts
        if firsts.more or len(self.known) >= firsts.room or due.id in self.known:
            self.refuse()
            return False
        self.known[due.id] = due.since
        firsts.waiting.append(due)
        return True

    def refuse(self) -> None:
        self.firsts.more = self.firsts.missed = True

    def read_limit(self, half: Half) -> int:
        """How many rows to ask for: those in flight are due in the database too."""
        half.missed = False
        return half.room + len(self.known)

    def fill(self, half: Half, found: Sequence[Due], limit: int) -> int:
        """Take what was read. Returns how many are new."""
        unknown = [due for due in found if due.id not in self.known]
        if len(unknown) < len(found):
            self._overtaken.update(due.id for due in found if self.known.get(due.id, due.since) != due.since)
        new = unknown[: max(half.room - len(half.waiting), 0)]
        half.waiting.extend(new)
        self.known.update((due.id, due.since) for due in new)
        half.more = half.missed or len(unknown) > len(new) or len(found) == limit
        return len(new)

    def take(self) -> Due:
        """The next to send. Raises IndexError when there is none."""
        again = self.agains.waiting
        if again:
            self._turn += 1
            if not self.firsts.waiting or self._turn % AGAIN_EVERY == 0:
                return again.popleft()
        return self.firsts.waiting.popleft()

    def settled(self, delivery_id: str) -> None:
        """Its row says all there is: if it was restarted, it is due."""
        self.known.pop(delivery_id, None)
        if delivery_id in self._overtaken:
            self._overtaken.discard(delivery_id)
            self.look_again()

    def set_aside(self) -> None:
        """Forget what waits; its rows stay due."""
        for half in (self.firsts, self.agains):
            if half.waiting:
                for due in half.waiting:
                    del self.known[due.id]
                half.waiting.clear()
                half.more = True
