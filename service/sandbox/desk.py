"""Where a contract takes creates and queries: who asks, what holds for them, what was ordered, then a job or a refusal."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from service.sandbox import line
from service.sandbox.accounts import Account, Turned
from service.sandbox.directives import Directives, UnknownDirective
from service.sandbox.jobs import Asked, Contract, Found, Job
from service.sandbox.order import Order, Refused
from service.sandbox.rules import Rules
from service.sandbox.world import World

Read = Callable[[Mapping[str, object]], Order]
Reply = Callable[[Request, Job], Awaitable[Response]]
Find = Callable[[Account], Awaitable[tuple[Sequence[Job], Found]]]
Show = Callable[[Sequence[Job]], Response]
Words = Mapping[Turned, tuple[int, str | None, str]]  # status, code, message


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """One contract's counter. `words`: how the contract says what its account may not."""

    world: World
    contract: Contract
    fault: line.Fault
    words: Words
    unreadable: str | None = None  # the code of a body that cannot be read
    new_id: Callable[[], str] = lambda: str(uuid.uuid4())

    async def create(self, request: Request, read: Read, cap: int, reply: Reply) -> Response:
        record = self._note(request, "create")
        try:
            account = self._account(request)
            order = read(await line.read_object(request, cap))
            record.ignored, record.told = order.ignored, order.effective
            rules = self.world.rules(self.contract.name, account.key)
            orders = self.world.orders("creates", self.contract.name, rules.faults, order.prompt)
            if (early := await line.before(request, orders, self.fault)) is not None:
                return early
            self._admit(account, rules, order, orders)
        except (Refused, line.Unreadable, UnknownDirective) as refused:
            return self._refuse(refused)
        job = self.world.accept(self._job(account, order, orders))
        record.job_id = job.id
        spoilt = await line.after(request, self.world, job, self.fault)
        return await reply(request, job) if spoilt is None else spoilt

    async def query(self, request: Request, find: Find, show: Show) -> Response:
        """Show the jobs that are asked for; `empty` shows none."""
        self._note(request, "query")
        try:
            account = self._account(request)
            rules = self.world.rules(self.contract.name, account.key)
            if account.hurries(rules, self.world.clock()):
                raise self._turn(Turned.TOO_FAST)
            jobs, by = await find(account)
        except (Refused, line.Unreadable) as refused:
            return self._refuse(refused)
        self.world.note_query(jobs, by)
        orders = self.world.orders("queries", self.contract.name, rules.query_faults)
        if (early := await line.before(request, orders, self.fault)) is not None:
            return early
        if orders.garbage:
            return line.garbage()
        return show([] if orders.empty else [job for job in jobs if not job.forgotten])

    async def upload(self, request: Request, cap: int, take: Callable[[str, bytes], Response]) -> Response:
        """Take a form; over the cap is a refusal as any other."""
        self._note(request, "upload")
        try:
            self._account(request)
            body = await line.read_body(request, cap)
            return take(request.headers.get("content-type", ""), body)
        except line.Unreadable as error:
            return self.fault(400, self.unreadable, str(error))
        except Refused as refused:
            return self._refuse(refused)

    def own(self, account: Account, job_id: object) -> list[Job]:
        """The account's job of this id, if there is one."""
        job = self.world.find(self.contract.name, job_id) if isinstance(job_id, str) else None
        return [job] if job is not None and job.account is account else []

    def _note(self, request: Request, kind: Literal["create", "query", "upload"]) -> Asked:
        record = line.asked(request)
        record.contract, record.kind = self.contract.name, kind
        return record

    def _account(self, request: Request) -> Account:
        key = line.credential(request)
        if not line.admitted(self.world, key):
            raise self._turn(Turned.NO_KEY if key is None else Turned.WRONG_KEY)
        account = self.world.account(self.contract.owner, key or "")
        if account is None:
            raise self._turn(Turned.FULL)
        line.asked(request).account = account.label
        return account

    def _admit(self, account: Account, rules: Rules, order: Order, orders: Directives) -> None:
        """What only the account's state can refuse. Nothing is awaited between this and `accept`."""
        if orders.refuse:
            raise self._turn(Turned.CONTENT)
        if self.world.knobs.unique_external_id and self._taken(account, order):
            raise self._turn(Turned.TAKEN)
        if self.world.full:
            raise self._turn(Turned.FULL)
        if (short := account.short_of(rules, self.contract.name, order.credits, self.world.clock())) is not None:
            raise self._turn(short)

    def _taken(self, account: Account, order: Order) -> bool:
        known = self.world.by_external_id.get((self.contract.name, order.external_id or ""), [])
        return any(job.account is account for job in known)

    def _turn(self, why: Turned) -> Refused:
        status, code, message = self.words[why]
        return Refused(message, status=status, code=code)

    def _refuse(self, why: Exception) -> Response:
        if isinstance(why, Refused):
            return self.fault(why.status, why.code, str(why))
        return self.fault(getattr(why, "status", 400), self.unreadable, str(why))

    def _job(self, account: Account, order: Order, orders: Directives) -> Job:
        return Job(
            contract=self.contract,
            account=account,
            id=self.new_id(),
            prompt=order.prompt,
            asked={**order.effective, "output_base": self.world.knobs.output_base},
            sent=order.sent,
            directives=orders,
            accepted_at=self.world.clock(),
            external_id=order.external_id,
            callback_url=order.callback_url,
            credits=order.credits,
        )
