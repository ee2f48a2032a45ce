"""What an answer means, told in one line and without secrets."""

from __future__ import annotations

from service.core.observation import Claim
from service.providers import meaning
from service.providers.base import Reply

REPLY = Reply(status=429, headers={"retry-after": "3"}, body=b'{"message":"slow down"}')


def test_a_refusal_says_who_what_and_why() -> None:
    seen = meaning.not_accepted("cloudsway", meaning.BUSY, REPLY, code="1302", message="slow down")
    assert seen.detail == "HTTP 429, code 1302: cloudsway takes no more just now: slow down"
    assert seen.failure is not None
    assert (seen.failure.provider_code, seen.retry_after_seconds) == ("1302", 3.0)
    assert seen.busy


def test_an_ambiguous_answer_names_no_failure() -> None:
    seen = meaning.not_accepted("ulazai", meaning.AMBIGUOUS, Reply(status=500))
    assert (seen.claim, seen.failure, seen.detail) == (
        Claim.AMBIGUOUS,
        None,
        "HTTP 500: ulazai may or may not have taken it.",
    )


def test_only_documented_statuses_prove_that_nothing_was_made() -> None:
    assert set(meaning.BY_STATUS) == {400, 401, 402, 403, 404, 413, 422, 429}


def test_a_query_without_an_answer_is_unreachable_and_tells_of_the_account() -> None:
    busy = meaning.unanswered("cloudsway", meaning.BUSY, REPLY)
    assert (busy.claim, busy.busy, busy.retry_after_seconds) == (Claim.UNREACHABLE, True, 3.0)
    seen = meaning.unanswered("cloudsway", meaning.KEY, Reply(status=401))
    assert not seen.busy
    assert (seen.claim, seen.account_refused) == (Claim.UNREACHABLE, True)
