"""What an answer means: for a create, whether money may have been spent; for a query, that it says nothing of the job.

A create is *refused* only on an answer that proves nothing was made, and *ambiguous* on everything unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.core.observation import Claim, Reading
from service.providers.base import Reply
from service.providers.reading import keep, retry_after, text
from storage.records import Failure, FailureCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """How one code of a provider is understood. `says` completes "<provider> …"."""

    claim: Claim
    code: FailureCode | None = None
    says: str = ""
    retryable: bool = False
    account: bool = False  # the key or the balance was refused, not this task


AMBIGUOUS = Meaning(claim=Claim.AMBIGUOUS, says="may or may not have taken it")
INVALID = Meaning(claim=Claim.REFUSED, code=FailureCode.INVALID_INPUT, says="refused the input")
CONTENT = Meaning(claim=Claim.REFUSED, code=FailureCode.CONTENT_REJECTED, says="rejected the content")
NOT_THERE = Meaning(claim=Claim.REFUSED, code=FailureCode.PROVIDER_ERROR, says="does not know this path or model")
FORBIDDEN = Meaning(claim=Claim.REFUSED, code=FailureCode.PROVIDER_ERROR, says="forbade the request")
BUSY = Meaning(claim=Claim.DEFERRED, code=FailureCode.RATE_LIMITED, says="takes no more just now", retryable=True)
KEY = Meaning(
    claim=Claim.DEFERRED,
    code=FailureCode.CREDENTIALS_REFUSED,
    says="refused the account's key",
    retryable=True,
    account=True,
)
CREDIT = Meaning(
    claim=Claim.DEFERRED,
    code=FailureCode.INSUFFICIENT_CREDIT,
    says="says the account's credit is used up",
    retryable=True,
    account=True,
)

# Statuses that every contract here documents as "nothing was made". Whatever is not listed is ambiguous: 3xx, 408, 409,
# 425, 5xx and numbers nobody has described.
BY_STATUS = {400: INVALID, 401: KEY, 402: CREDIT, 403: KEY, 404: NOT_THERE, 413: INVALID, 422: INVALID, 429: BUSY}


def not_accepted(
    provider: str,
    meaning: Meaning,
    reply: Reply,
    *,
    code: str | None = None,
    message: str | None = None,
    secrets: Sequence[str] = (),
) -> Reading:
    """The reading of a create that did not come back with a job."""
    message = text(message, secrets=secrets)
    said = f"{provider} {meaning.says}" + (f": {message}" if message else ".")
    failure = None
    if meaning.code is not None:
        failure = Failure(
            code=meaning.code,
            message=said,
            retryable=meaning.retryable,
            provider_code=code or str(reply.status),
            provider_message=message,
        )
    return Reading(
        claim=meaning.claim,
        failure=failure,
        account_refused=meaning.account,
        busy=meaning.code is FailureCode.RATE_LIMITED,
        retry_after_seconds=retry_after(reply),
        detail=_line(reply, code, said),
        raw=keep(reply.body, secrets),
    )


def unanswered(
    provider: str, meaning: Meaning, reply: Reply, *, code: str | None = None, message: str | None = None
) -> Reading:
    """The reading of a query that failed by itself; the job stays as it was."""
    message = text(message)
    said = f"{provider} did not answer the query" + (f": {message}" if message else ".")
    return Reading(
        claim=Claim.UNREACHABLE,
        account_refused=meaning.account,
        busy=meaning.code is FailureCode.RATE_LIMITED,
        retry_after_seconds=retry_after(reply),
        detail=_line(reply, code, said),
        raw=keep(reply.body),
    )


def unsubmittable(provider: str, reason: str) -> Reading:
    """The reading of a create that was never sent because the account is not configured for it."""
    failure = Failure(code=FailureCode.CREDENTIALS_REFUSED, message=f"{provider}: {reason}", retryable=True)
    return Reading(claim=Claim.DEFERRED, failure=failure, account_refused=True, detail=failure.message)


def unaskable(provider: str, reason: str) -> Reading:
    """The reading of a query that could not be made."""
    return Reading(claim=Claim.UNREACHABLE, detail=f"{provider} was not asked: {reason}")


def _line(reply: Reply, code: str | None, said: str) -> str:
    return f"HTTP {reply.status}" + (f", code {code}" if code else "") + f": {said}"
