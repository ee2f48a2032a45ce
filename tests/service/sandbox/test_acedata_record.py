from __future__ import annotations

from service.sandbox.accounts import Account
from service.sandbox.acedata import CONTRACT
from service.sandbox.acedata_record import record, video_id
from service.sandbox.directives import Directives
from service.sandbox.jobs import Job


def job(key: str = "hush-hush") -> Job:
    return Job(
        contract=CONTRACT,
        account=Account(company="acedata", key=key),
        id="c1d2e3f4",
        prompt="A mug",
        asked={},
        directives=Directives(),
        accepted_at=1_790_000_000.12,
    )


def test_ids_of_a_record_stay_the_same_whenever_it_is_shown() -> None:
    assert record(job()) == record(job())


def test_ids_of_the_account_are_those_of_its_key_and_do_not_tell_it() -> None:
    mine, theirs = record(job()), record(job("another"))
    assert mine["credential_id"] != theirs["credential_id"] and mine["trace_id"] == theirs["trace_id"]
    assert "hush" not in repr(mine)


def test_video_id_has_eighteen_digits() -> None:
    assert len(video_id(job())) == 18 and video_id(job()).isdecimal()
