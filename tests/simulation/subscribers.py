"""The subscribers: well or not, and exact about what they were sent. Signatures are judged by the published library."""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson
from standardwebhooks import Webhook

from tests.simulation.network import Response

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

FRESH_SECONDS = 300


@dataclass(slots=True)
class Party:
    """One URL. `temper`: how it behaves while the storm lasts."""

    url: str
    project: str
    secret: str
    temper: str = "well"
    endpoint: str | None = None
    gone: bool = False
    taken: set[str] = field(default_factory=set)  # ids of the events that it accepted, whatever its answer became of
    not_before: dict[str, tuple[float, int]] = field(default_factory=dict)  # event → (instant, attempt it was said to)


class Subscribers:
    """Everybody who is told of ends."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.draw = sim.dice("subscribers")
        self.parties: dict[str, Party] = {}
        self.digests: dict[str, str] = {}  # of the bytes of each event, which must never change
        self.forgotten_until = 0  # what was sent until then was sent by a database that is gone
        self.received: dict[tuple[str, str], int] = defaultdict(int)

    def add(self, party: Party) -> None:
        self.parties[party.url] = party

    async def take(
        self, url: str, body: bytes, headers: Mapping[str, str], heard: asyncio.Future[Response | None], machine: str
    ) -> None:
        """One POST arrives. `heard`: where its sender waits."""
        sim, draw = self.sim, self.draw
        party = self.parties.get(url)
        storm = sim.weather.bad_subscriber if sim.stormy else 0.0
        temper = party.temper if party is not None and sim.stormy else "well"
        if temper in ("well", "gone") and draw.random() < storm:
            temper = draw.choice(("errors", "busy", "slow", "deaf", "refuses", "reset"))
        await asyncio.sleep(sim.network.leg())
        if temper == "refuses":
            _tell(heard, None)
            return
        if party is None:
            sim.oracle.broken("I9", f"{url} was never subscribed")
            return
        self._judge(party, headers, body)
        event = headers["webhook-id"]
        self.received[url, event] += 1
        sim.note("event", machine, f"{headers['taskrelay-event']} attempt {headers['taskrelay-attempt']} {temper}")
        answer = self._mood(party, temper, event, int(headers["taskrelay-attempt"]))
        if answer.status // 100 == 2 or temper in ("deaf", "reset"):
            party.taken.add(event)
        if temper == "deaf":
            return  # accepted, and never answered
        if temper == "reset":
            answer = Response(0, {}, b"")
        if temper == "slow":
            await asyncio.sleep(draw.choice((0.5, 5.0, 14.9, 20.0)))
        await asyncio.sleep(sim.network.leg())
        _tell(heard, answer)

    def _mood(self, party: Party, temper: str, event: str, attempt: int) -> Response:
        draw = self.draw
        if party.gone or (temper == "gone" and draw.random() < 0.4):
            party.gone = True
            return Response(410, {}, b"no more")
        if temper == "errors" and draw.random() < 0.8:
            return Response(draw.choice((500, 500, 404, 302)), {}, b"oops")
        if temper == "busy" and draw.random() < 0.8:
            seconds = draw.choice((1, 20, 120))
            party.not_before[event] = (self.sim.loop.time() + seconds, attempt)
            return Response(draw.choice((429, 503)), {"Retry-After": str(seconds)}, b"")
        return Response(204, {}, b"")

    def _judge(self, party: Party, headers: Mapping[str, str], body: bytes) -> None:
        """I6, I9: the signature, the time in it, the same bytes as ever, and whose event it is."""
        sim, event = self.sim, headers["webhook-id"]
        stamp = int(headers["webhook-timestamp"])
        signed = Webhook(party.secret).sign(event, datetime.fromtimestamp(stamp, UTC), body.decode())
        if signed not in headers["webhook-signature"].split(" "):
            sim.oracle.broken("I6", f"{party.url}: the signature of {event} is not valid")
        if abs(sim.wall() // 1_000_000 - stamp) > FRESH_SECONDS and not sim.clock_jumped:
            sim.oracle.broken("I6", f"{party.url}: the timestamp of {event} is {stamp}, too old for any receiver")
        digest = hashlib.sha256(body).hexdigest()
        if stamp > self.forgotten_until and self.digests.setdefault(event, digest) != digest:
            sim.oracle.broken("I6", f"{party.url}: {event} came with other bytes than before")
        told = orjson.loads(body)
        if told["id"] != event:
            sim.oracle.broken("I6", f"{party.url}: {event} carries the body of {told['id']}")
        owner = sim.oracle.project_of(told["data"]["id"])
        if owner is not None and owner != party.project:
            sim.oracle.broken("I9", f"{party.url} of {party.project} was told of a task of {owner}")


def _tell(heard: asyncio.Future[Response | None], what: Response | None) -> None:
    if not heard.done():
        heard.set_result(what)
