"""/v1/accounts: the credentials at providers, how they do, and what a person can order of them.

Accounts belong to the installation and not to a project, so figures are of everybody's tasks together, and counts only.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Awaitable, Callable

from starlette.responses import Response

from service.api.account_views import off, view
from service.api.call import Call, listing, reply
from service.api.problems import Problem
from service.api.query import Query
from service.core.request import shown
from service.core.times import iso
from service.pipeline import account_events, audit_trail, figures
from service.pipeline.accounts import AccountDesk
from service.pipeline.checking import CheckDesk, TooSoon, check
from service.pipeline.ledger import Ledger
from storage.database import Connection
from storage.records import LaneKind

Order = Callable[[Connection, Ledger, AccountDesk], Awaitable[bool]]


async def page(call: Call) -> Response:
    """GET /v1/accounts"""
    Query(call.request, ()).settle()
    context = call.context
    found = await context.database.read(lambda tx: figures.read(tx, list(context.accounts), now=context.clock()))
    views = [view(account, found[name], context) for name, account in context.accounts.items()]
    views += [off(name, provider, context) for name, provider in context.disabled.items()]
    return reply(listing(views, has_more=False, next=None))


async def one(call: Call) -> Response:
    """GET /v1/accounts/{name}"""
    Query(call.request, ()).settle()
    name = str(call.request.path_params["name"])
    if name in call.context.disabled:
        return reply(off(name, call.context.disabled[name], call.context))
    return await _answer(call, _account(call))


async def pause(call: Call) -> Response:
    """POST /v1/accounts/{name}/pause: nothing is bought through it until it is resumed; everything else goes on."""
    return await _order(call, "account.pause", account_events.pause)


async def resume(call: Call) -> Response:
    """POST /v1/accounts/{name}/resume: lifts a person's pause, and tries again at once where key or balance were refused."""
    return await _order(call, "account.resume", account_events.resume)


async def _order(call: Call, action: str, order: Order) -> Response:
    Query(call.request, ()).settle()
    context, account = call.context, _account(call)
    name = account.account.name
    act = call.by(action, account=name)

    async def unit(tx: Connection, ledger: Ledger) -> None:
        if await order(tx, ledger, account):
            await audit_trail.note(tx, act, project_id=call.project_id, now=ledger.now, mint=ledger.mint)

    await context.recorder.write(unit, locks=(LaneKind.ACCOUNT, name))
    context.ring((LaneKind.ACCOUNT, name), context.clock())
    return await _answer(call, account)


async def ask(call: Call) -> Response:
    """POST /v1/accounts/{name}/check: one free question to the provider now, and what its answer says."""
    Query(call.request, ()).settle()
    context, account = call.context, _account(call)
    try:
        found = await check(account, CheckDesk(client=context.client, clock=context.clock, bucket=context.bucket))
    except TooSoon as soon:
        seconds = max(math.ceil(soon.seconds), 1)
        detail = f"The account's rate is used up just now. Try again in {seconds}."
        raise Problem("too_soon", detail, headers={"retry-after": str(seconds)}) from None
    return reply(
        {
            "object": "account_check",
            "account": account.account.name,
            "at": iso(context.clock()),
            "reachable": found.reachable,
            "credentials": found.credentials,
            "status_code": found.status,
            "latency_ms": found.latency_ms,
            "clock_difference_seconds": found.clock_seconds,
            "detail": found.detail,
        }
    )


async def _answer(call: Call, account: AccountDesk) -> Response:
    context, name = call.context, account.account.name
    found = await context.database.read(lambda tx: figures.read(tx, [name], now=context.clock()))
    return reply(view(account, found[name], context))


def _account(call: Call) -> AccountDesk:
    """The account in the path, which must be one that is in use."""
    context, name = call.context, str(call.request.path_params["name"])
    account = context.accounts.get(name)
    if account is not None:
        return account
    if name in context.disabled:
        how = f"TASKRELAY_ACCOUNTS__{name.upper()}__ENABLED=true"
        detail = f"The account {name} is switched off. Whoever runs taskrelay sets {how} and starts it again."
        raise Problem("account_disabled", detail)
    known = sorted({*context.accounts, *context.disabled})
    close = difflib.get_close_matches(name[:40], known, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"There is {', '.join(known[:20]) or 'none'}."
    raise Problem("not_found", f'There is no account "{shown(name)}". {hint}')
