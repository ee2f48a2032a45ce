"""How AceData's answers are read: tasks without a status field, an id of ours or a signature, found by their callback URL."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.core.observation import Claim, Reading
from service.providers.base import Ask, BadReply, Reply
from service.providers.registry import PROVIDERS
from storage.records import FailureCode
from tests.service.providers.builders import (
    CALLBACK_URL,
    CLUES,
    TASK_ID,
    TOKEN,
    account,
    push,
    reply,
    task,
    walk,
)

ACEDATA = PROVIDERS["acedata"]
JOB = "c1d2e3f4-0000-4000-8000-000000000001"
OTHER = "c1d2e3f4-0000-4000-8000-000000000002"
VIDEO = "https://platform2.cdn.acedata.cloud/kling/x.mp4"


def bought(answer: Reply) -> Reading:
    return walk(ACEDATA.submit(account("acedata"), task("acedata"), CALLBACK_URL), answer)[1]


def asked(record: object, status: int = 200) -> Reading:
    return walk(ACEDATA.query(account("acedata"), [task("acedata", job=JOB)]), reply(record, status))[1][TASK_ID]


def record(response: object = None, **more: object) -> dict[str, object]:
    made: dict[str, object] = {"id": JOB, "type": "videos", "created_at": 1790000000.12, "request": {}, **more}
    return made if response is None else {**made, "response": response}


def ended(**response: object) -> Reading:
    return asked(record({"task_id": JOB, **response}, started_at=1790000000.9, finished_at=1790000317.4))


# What an answer to a purchase means


@pytest.mark.parametrize(
    "status, code, claim, failure, account_refused",
    [
        (403, "used_up", Claim.DEFERRED, FailureCode.INSUFFICIENT_CREDIT, True),
        (403, "disabled", Claim.DEFERRED, FailureCode.CREDENTIALS_REFUSED, True),
        (403, "forbidden", Claim.REFUSED, FailureCode.CONTENT_REJECTED, False),
        (403, "novel", Claim.REFUSED, FailureCode.PROVIDER_ERROR, False),
        (403, None, Claim.REFUSED, FailureCode.PROVIDER_ERROR, False),
        (400, "disabled", Claim.DEFERRED, FailureCode.CREDENTIALS_REFUSED, True),
        (400, "no_token", Claim.DEFERRED, FailureCode.CREDENTIALS_REFUSED, True),
        (400, "api_not_implemented", Claim.REFUSED, FailureCode.PROVIDER_ERROR, False),
        (401, "token_expired", Claim.DEFERRED, FailureCode.CREDENTIALS_REFUSED, True),
        (404, "no_api", Claim.REFUSED, FailureCode.PROVIDER_ERROR, False),
        (429, "rate_limited", Claim.DEFERRED, FailureCode.RATE_LIMITED, False),
        (500, "api_error", Claim.AMBIGUOUS, None, False),
        (500, "used_up", Claim.AMBIGUOUS, None, False),
        (504, "timeout", Claim.AMBIGUOUS, None, False),
        (200, "used_up", Claim.AMBIGUOUS, None, False),
        (200, None, Claim.AMBIGUOUS, None, False),
    ],
)
def test_the_code_splits_what_the_status_lumps_together(
    status: int, code: str | None, claim: Claim, failure: FailureCode | None, account_refused: bool
) -> None:
    seen = bought(reply({"success": False, "error": {"code": code, "message": "m"}, "trace_id": "t1"}, status))
    assert (seen.claim, seen.failure and seen.failure.code, seen.account_refused) == (claim, failure, account_refused)
    assert "trace t1" in str(seen.detail)


@pytest.mark.parametrize("body", [{"error": "no"}, {"detail": "no"}, {"message": "no"}, {"error": {"message": "no"}}])
def test_four_shapes_of_an_error_give_one_message(body: dict[str, object]) -> None:
    told = bought(reply(body, 400)).failure
    assert told is not None and told.provider_message == "no"


@pytest.mark.parametrize("id", ["", None, True, -1, 0, 1.5, "a" * 129, "a b", "../x", [], {"id": "1"}])
def test_an_answer_without_a_usable_id_is_ambiguous(id: object) -> None:
    assert bought(reply({"task_id": id})).claim is Claim.AMBIGUOUS


def test_an_id_in_a_refusal_is_no_purchase_and_one_in_a_server_error_is() -> None:
    assert bought(reply({"task_id": JOB, "error": {"code": "bad_request"}}, 400)).claim is Claim.REFUSED
    assert bought(reply({"task_id": JOB}, 504)).provider_task_id == JOB


def test_the_whole_synchronous_answer_is_accepted_and_then_asked_for() -> None:
    body = {"success": True, "video_url": VIDEO, "state": "succeed", "task_id": JOB}
    assert bought(reply(body)).claim is Claim.ACCEPTED


# What a query says


def test_one_task_is_retrieved_and_many_are_retrieved_as_a_batch_always_with_an_action() -> None:
    one = walk(ACEDATA.query(account("acedata"), [task("acedata", job=JOB)]), reply({}))[0]
    assert [(ask.method, ask.path, ask.body) for ask in one] == [
        ("POST", "/kling/tasks", {"action": "retrieve", "id": JOB})
    ]
    tasks = [task("acedata", id=f"task_{id}", job=id) for id in (JOB, OTHER)]
    [ask] = walk(ACEDATA.query(account("acedata"), tasks), reply({"items": [], "count": 0}))[0]
    assert ask.body == {"action": "retrieve_batch", "ids": [JOB, OTHER]}
    assert ACEDATA.traits.batch == 50


@pytest.mark.parametrize(
    "response, times, claim",
    [
        (None, {}, Claim.WAITING),
        ({}, {}, Claim.WAITING),
        (None, {"started_at": 1.5}, Claim.RUNNING),
        ({}, {"started_at": 1.5, "finished_at": None}, Claim.RUNNING),
        ({"success": False}, {"started_at": 1.5}, Claim.RUNNING),
        ({"success": True}, {"started_at": 1.5}, Claim.RUNNING),
        ({"success": False, "error": "busy"}, {"started_at": 1.5}, Claim.RUNNING),
        ({"success": False}, {"finished_at": 2.5}, Claim.FAILED),
        ({"success": False, "error": "busy"}, {"finished_at": 2.5}, Claim.FAILED),
        ({"error": {"code": "api_error"}}, {}, Claim.FAILED),
        ({"success": True, "video_url": VIDEO, "error": {"code": "x"}}, {"finished_at": 2.5}, Claim.FAILED),
        ({"success": True, "error": None, "video_url": VIDEO}, {}, Claim.SUCCEEDED),
        ({"state": "Succeed ", "video_url": VIDEO}, {}, Claim.SUCCEEDED),
        ({"state": "completed", "video_url": VIDEO}, {}, Claim.SUCCEEDED),
        ({"state": "succeed", "success": True}, {"finished_at": 2.5}, Claim.SUCCEEDED),
        ({"success": True}, {"finished_at": 2.5}, Claim.SUCCEEDED),
        ({"state": "cancelled"}, {}, Claim.FAILED),
        ({"state": "rejected"}, {}, Claim.FAILED),
        ({"state": "succeed", "success": False, "video_url": VIDEO}, {"finished_at": 2.5}, Claim.UNKNOWN),
        ({"state": "archived"}, {"finished_at": 2.5}, Claim.UNKNOWN),
        ({"state": "archived", "success": True}, {"finished_at": 2.5}, Claim.UNKNOWN),
        (None, {"finished_at": 2.5}, Claim.UNKNOWN),
    ],
)
def test_the_state_is_read_from_what_is_there(response: object, times: dict[str, object], claim: Claim) -> None:
    assert asked(record(response, **times)).claim is claim


def test_seconds_with_a_fraction_are_no_obstacle() -> None:
    body = b'{"id":"%s","created_at":1790000000.123456789,"started_at":1.79e9,"request":{}}' % JOB.encode()
    seen = walk(ACEDATA.query(account("acedata"), [task("acedata", job=JOB)]), Reply(status=200, body=body))[1]
    assert seen[TASK_ID].claim is Claim.RUNNING


def test_the_echoed_callback_url_is_kept_nowhere() -> None:
    odd = "https://relay.example.org/elsewhere/secret-path"
    for url in (CALLBACK_URL, odd):
        seen = asked({**record({}), "request": {"prompt": "A.", "callback_url": url}})
        assert TOKEN not in repr(seen) and "secret-path" not in repr(seen)
        assert b'"prompt": "A."' in (seen.raw or b"")


def test_a_failure_is_told_in_their_words_and_not_billed() -> None:
    seen = ended(success=False, error={"code": "api_error", "message": "no luck"}, trace_id="t9")
    assert seen.failure is not None
    assert (seen.failure.provider_code, seen.failure.provider_message, seen.refunded) == ("api_error", "no luck", True)
    assert seen.detail == "trace t9"


def test_items_are_matched_by_id_and_one_tasks_evidence_holds_nothing_of_its_neighbours() -> None:
    tasks = [task("acedata", id=f"task_{id}", job=id) for id in (JOB, OTHER, "third")]
    items = [{**record({}), "id": OTHER, "note": "private"}, record({}, started_at=1.0)]
    seen = walk(ACEDATA.query(account("acedata"), tasks), reply({"items": items, "count": 2}))[1]
    claims = {id: seen[f"task_{id}"].claim for id in (JOB, OTHER, "third")}
    assert claims == {JOB: Claim.RUNNING, OTHER: Claim.WAITING, "third": Claim.ABSENT}
    assert "private" not in repr(seen[f"task_{JOB}"])


def test_a_record_of_another_task_or_of_none_ends_nothing() -> None:
    assert asked({**record({"state": "failed"}), "id": OTHER}).claim is Claim.ABSENT
    assert asked({"type": "videos", "response": {"state": "failed"}}).claim is Claim.UNKNOWN
    twice = {"items": [record({"state": "failed"}), record({})]}
    assert asked(twice).claim is Claim.UNKNOWN


def test_an_error_in_place_of_a_record_is_a_failed_query() -> None:
    assert asked({"error": {"code": "api_error", "message": "m"}, "trace_id": "t"}).claim is Claim.UNREACHABLE
    assert asked({"error": {"code": "no_api", "message": "m"}}, 404).claim is Claim.UNREACHABLE
    assert asked({"detail": "not found"}, 404).claim is Claim.ABSENT


@pytest.mark.parametrize("body", [[], "x", 7, None, {"items": {}}, {"items": None}])
def test_an_answer_of_another_form_proves_no_absence(body: object) -> None:
    with pytest.raises(BadReply):
        asked(body)


# What a look-up says


def mine(id: str = JOB, **more: object) -> dict[str, object]:
    return {**record({}, **more), "id": id, "request": {"callback_url": CALLBACK_URL}}


def theirs(id: str = OTHER) -> dict[str, object]:
    return {**record({}), "id": id, "request": {"callback_url": CALLBACK_URL + "x"}}


def looked_up(*answers: Reply, hinted: tuple[str, ...] = ()) -> tuple[list[Ask], Reading]:
    clues = replace(CLUES, hinted_ids=hinted)
    return walk(ACEDATA.look_up(account("acedata"), task("acedata"), clues), *answers)


def test_a_lost_task_is_listed_by_time_and_known_by_its_callback_url() -> None:
    asks, seen = looked_up(reply({"items": [theirs(), mine()], "count": 2}))
    assert [ask.body for ask in asks] == [
        {
            "action": "retrieve_batch",
            "created_at_min": 1783500000,
            "created_at_max": 1783500600,
            "limit": 50,
            "offset": 0,
        }
    ]
    assert (seen.claim, seen.provider_task_id, seen.external_id) == (Claim.WAITING, JOB, TASK_ID)


def test_a_task_that_a_push_named_is_asked_for_first_and_taken_only_with_our_callback_url() -> None:
    asks, seen = looked_up(reply(mine()), hinted=(JOB,))
    assert [ask.body for ask in asks] == [{"action": "retrieve", "id": JOB}]
    assert (seen.claim, seen.provider_task_id) == (Claim.WAITING, JOB)
    asks, seen = looked_up(reply(theirs(JOB)), reply({"items": []}), hinted=(JOB,))
    assert len(asks) == 2 and (seen.claim, seen.provider_task_id) == (Claim.ABSENT, None)
    assert looked_up(reply({"items": []}), hinted=("../x",))[0][0].body == looked_up(reply({"items": []}))[0][0].body


def test_of_two_tasks_the_older_is_ours_and_the_other_is_named() -> None:
    items = [mine("b", created_at=1790000002.5), mine("a", created_at=1790000001.5), mine("c", created_at="soon")]
    seen = looked_up(reply({"items": items}))[1]
    assert (seen.provider_task_id, seen.also) == ("a", ("b", "c"))


def test_a_task_of_ours_in_a_state_we_do_not_know_is_still_ours() -> None:
    seen = looked_up(reply({"items": [{**mine(), "response": {"state": "archived"}}]}))[1]
    assert (seen.claim, seen.provider_task_id) == (Claim.ACCEPTED, JOB)


def test_a_list_is_read_to_its_end_and_one_that_does_not_end_proves_nothing() -> None:
    full = reply({"items": [theirs(f"t{n}") for n in range(50)]})
    asks, seen = looked_up(full, reply({"items": [mine()]}))
    assert [ask.body["offset"] for ask in asks if ask.body] == [0, 50]
    assert seen.provider_task_id == JOB
    asks, seen = looked_up(full)
    assert (len(asks), seen.claim) == (4, Claim.UNKNOWN)


def test_a_listed_task_without_its_request_may_be_ours_so_nothing_is_proven() -> None:
    assert looked_up(reply({"items": [{"id": OTHER}]}))[1].claim is Claim.UNKNOWN
    assert looked_up(reply({"items": []}))[1].claim is Claim.ABSENT
    assert looked_up(Reply(status=429))[1].claim is Claim.UNREACHABLE
    assert looked_up(Reply(status=500), hinted=(JOB,))[1].claim is Claim.UNREACHABLE


# What a push says


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b'{"success":true}', b"\xff\xfe", b"7"])
def test_a_push_that_holds_no_task_is_unknown(body: bytes) -> None:
    assert ACEDATA.read(push(body)).claim is Claim.UNKNOWN


def test_a_push_is_final_and_states_no_id_of_ours() -> None:
    seen = ACEDATA.read(push({"success": False, "task_id": JOB}))
    assert (seen.claim, seen.provider_task_id, seen.external_id) == (Claim.FAILED, JOB, None)
    assert ACEDATA.read(push({"task_id": JOB})).claim is Claim.UNKNOWN
    assert ACEDATA.read(push(record({"state": "succeed", "video_url": VIDEO}))).claim is Claim.SUCCEEDED


def test_no_push_is_signed() -> None:
    assert not ACEDATA.signed(push(b"{}", {"x-callback-signature": "00"}), "whsec_dGVzdA==", 0)
