"""A creating request that may be asked again: does what is asked once, and answers a repeat with the same bytes.

    stated ─▶ what is asked, before it is judged. Answered already: `Answered` is raised, which the frame sends
    write  ─▶ its transaction takes the place first, so that whoever asks the same at once waits for it and hears its answer
    keep   ─▶ fills the place, in that transaction. What is refused fills none and gives it back: mended, it may be asked again

Without Idempotency-Key, tries of an SDK that counts them are told apart by that count: a later try of the same credential with
the same request is answered with what an earlier one made and no other later one was answered with.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Generic, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import Response

from service.api.context import Context
from service.api.idempotency import fingerprint, key_of, retry_of
from service.api.problems import Problem
from service.core import ids
from service.core.keys import NONCE_BYTES
from service.core.times import DAY, MINUTE, SECOND, iso
from service.pipeline.ledger import Ledger
from service.pipeline.recorder import Recording
from storage import answers
from storage.answers import Kept
from storage.database import Apart, Behind, Connection, Database, Unit
from storage.errors import Unavailable
from storage.records import ApiKey, Task

T = TypeVar("T")

PURPOSE = "kept-answer"
FINGERPRINTS = "fingerprint"
KEPT_FOR = DAY  # at least, and as long as its task is open
RETRIED_FOR = 10 * MINUTE  # an SDK tries again within seconds
PLACES = 100  # taken by other replicas in this very moment, one after another
REPLAYED, KEPT_UNTIL = "taskrelay-replayed", "taskrelay-kept-until"


class Answered(Exception):
    """It was done before; `response` says what was answered then. `whole` False: its task was erased, and what told of it with it."""

    def __init__(self, response: Response, task_id: str | None, *, whole: bool) -> None:
        super().__init__("answered before")
        self.response = response
        self.task_id = task_id
        self.whole = whole

    @property
    def marks(self) -> dict[str, str]:
        """The headers that say so."""
        return {name: self.response.headers[name] for name in (REPLAYED, KEPT_UNTIL)}


class _Done(Generic[T]):
    """What a unit returned, told apart from an answer that was kept."""

    __slots__ = ("result",)

    def __init__(self, result: T) -> None:
        self.result = result


class Once:
    """One request with its place among those that are kept."""

    def __init__(
        self, context: Context, api_key: ApiKey, request: Request, route: str, *, stated: str | None, attempt: int
    ) -> None:
        """`stated`: its Idempotency-Key. `attempt`: which try of an SDK it is, where it has none."""
        self._context = context
        self._api_key = api_key
        self._request = request
        self._route = route
        self._stated = stated
        self._attempt = attempt
        self._asked_at = context.clock()
        self._place: Kept | None = None
        self._fingerprints: list[str] = []  # under each secret key, the newest first: a rotation makes nobody buy twice
        self._filled = False

    async def stated(self, members: object) -> None:
        """Say what is asked, parsed: members that mean the same must be the same. Raises `Answered` or `Problem`."""
        context, request = self._context, self._request
        query = sorted((name, value) for name, value in request.query_params.multi_items() if name != "dry_run")
        asked = [request.method, request.scope["path"], query, members]
        self._fingerprints = [fingerprint(asked, key) for key in context.keyring.derive(FINGERPRINTS)]
        newest = self._fingerprints[0]
        self._place = Kept(
            id=context.mint(ids.ANSWER),
            project_id=self._api_key.project_id,
            route=self._route,
            asked_as=f"{self._api_key.id} {newest}" if self._stated is None else self._stated,
            number=0,
            fingerprint=newest,
            asked_at=self._asked_at,
            least=self._attempt,
            most=self._attempt,
            keep_until=self._asked_at + KEPT_FOR,
        )
        if self._stated is None:
            return  # a retry is looked for where it is also taken
        found = await context.database.read(lambda tx: answers.find(tx, self._own))
        if found is not None and found.status is not None:  # work that goes on is met at its place, by `write`
            raise self._answered(found)

    @property
    def _own(self) -> Kept:
        if self._place is None:
            raise RuntimeError("a creating route did not state what is asked of it")
        return self._place

    # In one transaction

    def wrapped(self, unit: Unit[T]) -> Unit[Kept | _Done[T]]:
        """The unit, behind the place it fills."""

        async def whole(tx: Connection) -> Kept | _Done[T]:
            return await self._first(tx) or await self._then(tx, unit(tx))

        if isinstance(unit, Apart):
            return Apart(whole, unit.locks)
        # Places are taken in one order on every replica. Else two groups with the same keys could wait for each other.
        own, locks = self._own, unit.locks if isinstance(unit, Behind) else (self._api_key.project_id,)
        return Behind(whole, (*locks, own.route, own.asked_as))

    def wrapped_with_ledger(
        self, unit: Callable[[Connection, Ledger], Awaitable[T]]
    ) -> Callable[[Connection, Ledger], Awaitable[Kept | _Done[T]]]:
        async def whole(tx: Connection, ledger: Ledger) -> Kept | _Done[T]:
            return await self._first(tx) or await self._then(tx, unit(tx, ledger))

        return whole

    def told(self, done: Kept | _Done[T]) -> T:
        """What the unit returned. Raises `Answered` when it did not run."""
        if isinstance(done, Kept):
            raise self._answered(done)
        return done.result

    async def _first(self, tx: Connection) -> Kept | None:
        """Take the place; what it holds already when somebody has it."""
        self._filled = False
        return await (self._retried(tx) if self._stated is None else self._claimed(tx))

    async def _claimed(self, tx: Connection) -> Kept | None:
        for _ in range(PLACES):
            if await answers.claim(tx, self._own):
                return None
            if (found := await answers.find(tx, self._own)) is not None:
                return found
        raise Unavailable("its place is taken and given back all the time")

    async def _retried(self, tx: Connection) -> Kept | None:
        """What another try of the same call was answered; else a place beside those of equal requests that are other calls."""
        own, since = self._own, self._context.clock() - RETRIED_FOR
        for _ in range(PLACES):
            for one in self._fingerprints:
                sought = replace(own, asked_as=f"{self._api_key.id} {one}")
                if (found := await answers.retried(tx, sought, since=since)) is not None:
                    return found
            self._place = replace(own, number=await answers.next_number(tx, own))
            if await answers.claim(tx, self._place):
                return None
        raise Unavailable("its place is taken all the time")

    async def _then(self, tx: Connection, running: Awaitable[T]) -> _Done[T]:
        result = await running
        if not self._filled:
            await answers.drop(tx, self._own.id)
        return _Done(result)

    async def keep(self, tx: Connection, response: Response, *, secret: bool, task: Task | None) -> None:
        """Fill the place with the answer, which from now on says until when it is kept."""
        own, context = self._own, self._context
        until = max(own.keep_until, task.deadline_at if task is not None else 0)
        response.headers[KEPT_UNTIL] = iso(until)
        body = bytes(response.body)
        sealed = None
        if secret:
            nonce = context.entropy(NONCE_BYTES)
            sealed = context.keyring.seal(body.decode("utf-8"), purpose=PURPOSE, nonce=nonce)
        headers = {name: value for name, value in response.headers.items() if name != "content-length"}
        self._filled = await answers.keep(
            tx,
            replace(
                own,
                status=response.status_code,
                headers=orjson.dumps(headers).decode(),
                body=None if secret else body,
                sealed=sealed,
                task_id=task.id if task is not None else None,
                keep_until=until,
            ),
        )
        if not self._filled:
            raise RuntimeError("a creating route kept its answer outside of the transaction that took its place")

    # In several

    async def in_steps(self, work: Callable[[], Awaitable[Response]], *, seconds: float) -> Response:
        """Run what takes several transactions, or asks others, while nobody else may. `seconds`: after which it is taken for dead."""
        if self._stated is None:
            return await work()
        database, now = self._context.database, self._context.clock()
        self._place = replace(self._own, until=now + math.ceil(seconds * SECOND))
        if (found := await database.write(lambda tx: self._alone(tx, now))) is not None:
            raise self._answered(found)
        try:
            response = await work()
        except Exception:
            await database.write(lambda tx: answers.drop(tx, self._own.id))
            raise
        await database.write(lambda tx: self.keep(tx, response, secret=False, task=None))
        return response

    async def _alone(self, tx: Connection, now: int) -> Kept | None:
        found = await self._claimed(tx)
        silent = found is not None and found.until is not None and found.until <= now
        if found is None or (
            silent and found.fingerprint in self._fingerprints and await answers.take_over(tx, found, self._own)
        ):
            return None
        return found

    # What was kept

    def _answered(self, found: Kept) -> Exception:
        """The answer of whoever has the place, or why there is none for this request."""
        if found.fingerprint not in self._fingerprints:
            detail = (
                "This Idempotency-Key came with another request before. Send what was sent then, or another key; "
                "a key belongs to one request."
            )
            return Problem("idempotency_key_reused", detail)
        if found.status is None:
            detail = "The first request with this Idempotency-Key is still worked on. Send it again in a moment."
            return Problem("idempotency_key_in_use", detail, headers={"retry-after": "1", "retry-after-ms": "1000"})
        body = found.body if found.sealed is None else self._context.keyring.open(found.sealed, PURPOSE).encode()
        headers = {**orjson.loads(found.headers), REPLAYED: "retry" if self._stated is None else "key"}
        return Answered(Response(body or b"", found.status, headers), found.task_id, whole=body is not None)


class ClaimingDatabase:
    """The database as a creating request uses it: every write takes the request's place first."""

    def __init__(self, database: Database, once: Once) -> None:
        self._database = database
        self._once = once

    async def write(self, unit: Unit[T], /) -> T:
        """Raises `Answered` instead, when it was done before."""
        return self._once.told(await self._database.write(self._once.wrapped(unit)))

    async def read(self, unit: Unit[T], /) -> T:
        return await self._database.read(unit)

    @property
    def waiting(self) -> int:
        return self._database.waiting

    def watched(self, told: Callable[[int, float], None], /) -> None:
        self._database.watched(told)

    def claim_serving(self) -> bool:
        return self._database.claim_serving()

    async def close(self) -> None:
        raise RuntimeError("a request does not close the database")


class ClaimingRecorder:
    """The same for what is written through the recorder."""

    def __init__(self, recorder: Recording, once: Once) -> None:
        self._recorder = recorder
        self._once = once

    async def write(self, unit: Callable[[Connection, Ledger], Awaitable[T]]) -> T:
        return self._once.told(await self._recorder.write(self._once.wrapped_with_ledger(unit)))


def once_of(context: Context, api_key: ApiKey, request: Request, route: str) -> Once | None:
    """None for a request that says nothing of repeats: it costs nothing more. Raises `Problem` for a malformed key."""
    headers = request.scope["headers"]
    stated = key_of(headers)
    attempt = retry_of(headers) if stated is None else 0
    return None if attempt is None else Once(context, api_key, request, route, stated=stated, attempt=attempt)
