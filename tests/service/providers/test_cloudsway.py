"""Cloudsway's traps, each by name: two submit forms, codes before statuses, look-up by our id, five shapes of a push."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from decimal import Decimal

import pytest

from service.core.observation import Claim, Reading
from service.core.request import Invalid
from service.providers.base import Ask, BadReply, Reply
from service.providers.cloudsway import Cloudsway
from service.providers.registry import PROVIDERS
from storage.records import FailureCode, evolve
from tests.service.providers.builders import (
    CALLBACK_URL,
    CLUES,
    TASK_ID,
    TOKEN,
    account,
    listing,
    push,
    reply,
    request,
    task,
    walk,
)

CLOUDSWAY = PROVIDERS["cloudsway"]
JOB = "911000000000000017"
IMAGE = "https://assets.example.org/f.jpg"
TASKS = "/v1/ai/tenant-1/kling/tasks"


def sent(input: dict[str, object], callback_url: str | None = None) -> Ask:
    return walk(
        CLOUDSWAY.submit(account("cloudsway"), task("cloudsway", input=input), callback_url), Reply(status=503)
    )[0][0]


def bought(answer: Reply, *, resends: int = 0, callback_url: str | None = None) -> Reading:
    return walk(CLOUDSWAY.submit(account("cloudsway"), task("cloudsway", resends=resends), callback_url), answer)[1]


def asked(*jobs: object) -> Reading:
    return walk(CLOUDSWAY.query(account("cloudsway"), [task("cloudsway", job=JOB)]), listing(*jobs))[1][TASK_ID]


def looked_up(answer: Reply) -> Reading:
    return walk(CLOUDSWAY.look_up(account("cloudsway"), task("cloudsway"), CLUES), answer)[1]


def effective(input: dict[str, object]) -> dict[str, object]:
    return dict(CLOUDSWAY.prepare(request("cloudsway", input)).input)


def faults(input: dict[str, object]) -> dict[str, str]:
    with pytest.raises(Invalid) as told:
        CLOUDSWAY.prepare(request("cloudsway", input))
    return {fault.pointer: fault.detail for fault in told.value.faults}


# What is sent


def test_text_becomes_a_text_to_video_purchase_with_fields_in_their_sub_objects() -> None:
    ask = sent({"prompt": "A tram.", "duration": 7, "aspect_ratio": "1:1", "quality": "pro"}, CALLBACK_URL)
    assert (ask.method, ask.path) == ("POST", "/v1/ai/tenant-1/kling/videos/text-to-video/kling-3.0-turbo")
    assert ask.body == {
        "prompt": "A tram.",
        "settings": {"resolution": "1080p", "aspect_ratio": "1:1", "duration": 7},
        "options": {
            "external_task_id": TASK_ID,
            "watermark_info": {"enabled": False},
            "callback_url": CALLBACK_URL,
        },
    }


def test_an_image_selects_the_other_form_which_has_no_aspect_ratio() -> None:
    ask = sent({"prompt": "Leaves fall.", "image": IMAGE, "duration": 3, "watermark": True})
    assert ask.path == "/v1/ai/tenant-1/kling/videos/image-to-video/kling-3.0-turbo"
    assert ask.body == {
        "contents": [{"type": "first_frame", "url": IMAGE}, {"type": "prompt", "text": "Leaves fall."}],
        "settings": {"resolution": "720p", "duration": 3},
        "options": {"external_task_id": TASK_ID, "watermark_info": {"enabled": True}},
    }


def test_an_image_needs_no_prompt_and_then_sends_none() -> None:
    body = sent({"image": IMAGE}).body
    assert body is not None
    assert body["contents"] == [{"type": "first_frame", "url": IMAGE}]


def test_shots_are_numbered_in_the_prompt_text() -> None:
    shots = [{"prompt": "A door.", "duration": 2}, {"prompt": "A room.", "duration": 3}]
    body = sent({"prompt": "One house.", "shots": shots}).body
    assert body is not None
    assert body["prompt"] == "One house.\nShot 1 (2 s): A door.\nShot 2 (3 s): A room."


def test_every_submission_of_a_task_carries_the_same_external_id() -> None:
    bodies = [
        walk(CLOUDSWAY.submit(account("cloudsway"), task("cloudsway", resends=again), None), Reply(status=503))[0][
            0
        ].body
        for again in (0, 1)
    ]
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize("path", [None, "", "../x", "a/b", "a?b"])
def test_without_a_plain_endpoint_path_nothing_is_sent_and_the_account_waits(path: str | None) -> None:
    where = account("cloudsway", path)
    bought, seen = walk(CLOUDSWAY.submit(where, task("cloudsway"), None))
    assert bought == []
    assert (seen.claim, seen.account_refused) == (Claim.DEFERRED, True)
    assert "ACCOUNTS__CLOUDSWAY__ENDPOINT_PATH" in str(seen.detail)
    assert walk(CLOUDSWAY.look_up(where, task("cloudsway"), CLUES))[1].claim is Claim.UNREACHABLE
    assert walk(CLOUDSWAY.query(where, [task("cloudsway", job=JOB)]))[0] == []


# What is accepted as input


def test_defaults_are_spelled_out_and_sound_is_told_as_it_will_be() -> None:
    assert effective({"prompt": "A."}) == {
        "prompt": "A.",
        "duration": 5,
        "aspect_ratio": "16:9",
        "quality": "standard",
        "resolution": "720p",
        "sound": True,
        "watermark": False,
    }
    assert effective({"prompt": "A.", "sound": True})["sound"] is True


def test_sound_off_is_refused_by_name() -> None:
    assert list(faults({"prompt": "A.", "sound": False})) == ["/input/sound"]


def test_resolution_is_a_synonym_of_quality_and_may_not_contradict_it() -> None:
    assert effective({"prompt": "A.", "resolution": "1080p"})["quality"] == "pro"
    assert effective({"prompt": "A.", "resolution": "720p", "quality": "standard"})["resolution"] == "720p"
    assert list(faults({"prompt": "A.", "resolution": "720p", "quality": "pro"})) == ["/input/resolution"]
    assert list(faults({"prompt": "A.", "resolution": "480p"})) == ["/input/resolution"]


def test_an_aspect_ratio_beside_an_image_is_refused_since_it_would_be_ignored() -> None:
    told = faults({"prompt": "A.", "image": IMAGE, "aspect_ratio": "1:1"})
    assert told == {"/input/aspect_ratio": "cloudsway/kling-3.0-turbo takes it from the image. Leave it out."}
    assert "aspect_ratio" not in effective({"prompt": "A.", "image": IMAGE})


def test_what_the_contract_lacks_is_refused_by_name_with_those_that_have_it() -> None:
    told = faults({"prompt": "A.", "mode": "std", "end_image": IMAGE, "negative_prompt": "x", "cfg_scale": 0.5})
    able = "acedata/kling-v3, ulazai/kling-3.0 and apiinone/kling-3 have it"
    assert told["/input/mode"] == f"cloudsway/kling-3.0-turbo has no mode. {able}. Leave it out."
    assert "acedata/kling-v3 and ulazai/kling-3.0 have it." in told["/input/end_image"]
    assert set(told) == {"/input/mode", "/input/end_image", "/input/negative_prompt", "/input/cfg_scale"}


def test_shots_are_bounded_and_must_add_up_to_the_duration() -> None:
    def shots(*seconds: int, prompt: str = "A.") -> dict[str, object]:
        return {"shots": [{"prompt": prompt, "duration": each} for each in seconds]}

    assert effective(shots(1, 2))["duration"] == 3
    assert effective({**shots(2, 2, 2, 2, 2, 5), "duration": 15})["duration"] == 15
    assert list(faults({**shots(2, 2), "duration": 5})) == ["/input/shots"]
    assert list(faults(shots(2, 2, 2, 2, 2, 2, 2))) == ["/input/shots"]
    assert list(faults(shots(0, 5))) == ["/input/shots/0/duration"]
    assert list(faults(shots(5, prompt="x" * 513))) == ["/input/shots/0/prompt"]
    assert list(faults(shots(8, 8))) == ["/input/shots"]
    assert list(faults({**shots(3, 3, prompt="x" * 512), "prompt": "x" * 1500})) == ["/input/shots"]


@pytest.mark.parametrize("seconds", [2, 16, -1, 0])
def test_durations_outside_3_to_15_are_refused(seconds: int) -> None:
    assert list(faults({"prompt": "A.", "duration": seconds})) == ["/input/duration"]


@pytest.mark.parametrize(
    "link",
    ["file:///etc/passwd", "data:image/png;base64,AA", "javascript:x", "https://", "https://[", "https://a b/", "/a"],
)
def test_an_image_must_be_a_link_that_the_provider_can_fetch(link: str) -> None:
    assert list(faults({"prompt": "A.", "image": link})) == ["/input/image"]


@pytest.mark.parametrize(
    "seconds, resolution, units",
    [(3, "720p", "2.4"), (7, "720p", "5.6"), (15, "720p", "12.0"), (5, "1080p", "5.0"), (15, "1080p", "15.0")],
)
def test_the_estimate_follows_the_price_list(seconds: int, resolution: str, units: str) -> None:
    wanted = request("cloudsway", {"prompt": "A.", "duration": seconds, "resolution": resolution})
    estimate = CLOUDSWAY.prepare(wanted).estimate
    assert (estimate.unit, estimate.amount) == ("unit", Decimal(units))


# What an answer to a purchase means


@pytest.mark.parametrize(
    "status, code, claim, failure, account_refused",
    [
        (429, 1100, Claim.DEFERRED, FailureCode.CREDENTIALS_REFUSED, True),
        (429, 1101, Claim.DEFERRED, FailureCode.INSUFFICIENT_CREDIT, True),
        (429, 1102, Claim.DEFERRED, FailureCode.INSUFFICIENT_CREDIT, True),
        (403, 1103, Claim.DEFERRED, FailureCode.CREDENTIALS_REFUSED, True),
        (429, 1304, Claim.DEFERRED, FailureCode.CREDENTIALS_REFUSED, True),
        (429, 1302, Claim.DEFERRED, FailureCode.RATE_LIMITED, False),
        (429, 1303, Claim.DEFERRED, FailureCode.RATE_LIMITED, False),
        (400, 1200, Claim.REFUSED, FailureCode.INVALID_INPUT, False),
        (400, 1300, Claim.REFUSED, FailureCode.CONTENT_REJECTED, False),
        (404, 1203, Claim.REFUSED, FailureCode.PROVIDER_ERROR, False),
        (200, 1301, Claim.REFUSED, FailureCode.CONTENT_REJECTED, False),
        (500, 1303, Claim.DEFERRED, FailureCode.RATE_LIMITED, False),
        (400, 9999, Claim.REFUSED, FailureCode.INVALID_INPUT, False),
        (500, 5000, Claim.AMBIGUOUS, None, False),
        (503, 5001, Claim.AMBIGUOUS, None, False),
        (200, 9999, Claim.AMBIGUOUS, None, False),
        (200, 0, Claim.AMBIGUOUS, None, False),
    ],
)
def test_the_code_decides_before_the_status(
    status: int, code: int, claim: Claim, failure: FailureCode | None, account_refused: bool
) -> None:
    seen = bought(reply({"code": code, "message": "m", "data": None}, status))
    assert (seen.claim, seen.failure and seen.failure.code, seen.account_refused) == (claim, failure, account_refused)


@pytest.mark.parametrize(
    "word", ["NO_BALANCER_ERROR", "NO_PROVIDER_ERROR", "NO_PASSAGEWAY", "AI_PASSAGEWAY_GROUP_IS_EMPTY_ERROR"]
)
def test_a_gateways_400_for_want_of_capacity_is_not_the_callers_fault(word: str) -> None:
    seen = bought(reply({"error": {"message": word}}, 400, retry_after="9"))
    assert (seen.claim, seen.retry_after_seconds) == (Claim.DEFERRED, 9.0)


def test_a_filtered_prompt_is_a_content_refusal() -> None:
    seen = bought(reply({"message": "The response was filtered"}, 400))
    assert seen.failure is not None
    assert seen.failure.code is FailureCode.CONTENT_REJECTED


@pytest.mark.parametrize("status, code", [(400, 1201), (400, 1200), (409, None), (400, None), (422, None), (200, 1201)])
def test_a_parameter_error_after_an_unknown_submission_may_be_our_own_id_coming_back(
    status: int, code: int | None
) -> None:
    answer = reply({"code": code, "message": "external_task_id already exists"}, status)
    assert bought(answer, resends=1).claim is Claim.AMBIGUOUS
    assert bought(answer).claim is (Claim.AMBIGUOUS if status == 409 else Claim.REFUSED)


@pytest.mark.parametrize("id", ["", None, True, -1, 0, 1.5, "a" * 129, "a\nb", [], {"id": "1"}])
def test_an_answer_without_a_usable_id_is_ambiguous(id: object) -> None:
    assert bought(reply({"code": 0, "data": {"id": id}})).claim is Claim.AMBIGUOUS


def test_a_server_error_that_names_the_job_has_made_it() -> None:
    assert bought(reply({"code": 0, "data": {"id": JOB}}, 502)).provider_task_id == JOB
    assert bought(reply({"code": 0, "data": {"id": JOB}}, 302)).claim is Claim.AMBIGUOUS


def test_the_callback_token_survives_nowhere_in_a_refusal_that_quotes_it() -> None:
    odd = "https://relay.example.org/elsewhere/secret-path"
    for url in (CALLBACK_URL, odd):
        seen = bought(reply({"code": 1201, "message": "x" * 470 + f" bad callback_url {url}"}, 400), callback_url=url)
        assert TOKEN not in repr(seen) and "secret" not in repr(seen)


# What a query says


def test_ids_are_asked_for_in_one_parameter_and_answered_by_id_not_by_position() -> None:
    tasks = [task("cloudsway", id=f"task_{n}", job=f"90{n}") for n in range(3)]
    jobs = [
        {"id": "902", "status": "failed", "message": "m"},
        {"id": "900", "status": "processing"},
        {"id": "777", "status": "succeeded"},
    ]
    asks, seen = walk(CLOUDSWAY.query(account("cloudsway"), tasks), listing(*jobs))
    assert [(ask.path, dict(ask.query)) for ask in asks] == [(TASKS, {"task_ids": "900,901,902"})]
    assert {id: each.claim for id, each in seen.items()} == {
        "task_0": Claim.RUNNING,
        "task_1": Claim.ABSENT,
        "task_2": Claim.FAILED,
    }


def test_one_tasks_evidence_holds_nothing_of_its_neighbours() -> None:
    tasks = [task("cloudsway", id=f"task_{n}", job=f"90{n}") for n in range(2)]
    jobs = [{"id": "900", "status": "failed", "message": "private to 900"}, {"id": "901", "status": "processing"}]
    seen = walk(CLOUDSWAY.query(account("cloudsway"), tasks), listing(*jobs))[1]
    assert b"private" in (seen["task_0"].raw or b"")
    assert "private" not in repr(seen["task_1"])


def test_the_reason_is_the_tasks_own_message_and_never_the_envelopes() -> None:
    told = asked({"id": JOB, "status": "failed", "message": "no luck"}).failure
    assert told is not None and told.provider_message == "no luck"
    silent = asked({"id": JOB, "status": "failed", "message": ""}).failure
    assert silent is not None and "SUCCEED" not in silent.message


def test_a_gateway_that_answers_in_plain_words_is_quoted() -> None:
    told = bought(reply({"code": "1301", "error": "no"}, 400)).failure
    assert told is not None and (told.provider_code, told.provider_message) == ("1301", "no")


def test_both_spellings_of_success_count_and_an_unknown_word_is_no_end() -> None:
    assert asked({"id": JOB, "status": " Succeeded "}).claim is Claim.SUCCEEDED
    assert asked({"id": JOB, "status": "succeed"}).claim is Claim.SUCCEEDED
    strange = asked({"id": JOB, "status": "archived"})
    assert (strange.claim, strange.provider_status) == (Claim.UNKNOWN, "archived")


@pytest.mark.parametrize(
    "url", ["", None, "http://cdn.example.org/o.mp4", "javascript:alert(1)", "https://u:p@cdn.example.org/o.mp4"]
)
def test_success_without_a_usable_link_is_a_success_word_with_no_outputs(url: object) -> None:
    seen = asked({"id": JOB, "status": "succeeded", "outputs": [{"type": "video", "url": url}]})
    assert (seen.claim, seen.outputs) == (Claim.SUCCEEDED, ())


def test_an_item_without_an_id_makes_absence_unknown_but_hides_no_other_job() -> None:
    assert asked({"status": "processing"}).claim is Claim.UNKNOWN
    assert asked({"status": "processing"}, {"id": JOB, "status": "processing"}).claim is Claim.RUNNING


def test_a_job_listed_twice_with_two_fates_is_believed_neither_way() -> None:
    assert asked({"id": JOB, "status": "failed"}, {"id": JOB, "status": "processing"}).claim is Claim.UNKNOWN
    assert asked({"id": JOB, "status": "failed"}, {"id": JOB, "status": "failed"}).claim is Claim.FAILED


@pytest.mark.parametrize("body", [{"code": 0}, {"code": 0, "data": None}, {"code": 0, "data": {}}])
def test_an_answer_without_a_list_proves_no_absence(body: object) -> None:
    with pytest.raises(BadReply):
        walk(CLOUDSWAY.query(account("cloudsway"), [task("cloudsway", job=JOB)]), reply(body))
    with pytest.raises(BadReply):
        looked_up(reply(body))


def test_the_links_end_is_read_from_the_link_itself() -> None:
    base = "https://v.example.org/o.mp4?ksSecret=a&"
    ends = [
        asked({"id": JOB, "status": "succeeded", "outputs": [{"url": base + query}]}).outputs[0].expires_at
        for query in ("ksTime=6a6ef86e", "ksTime=zz", "ksTime=6a6ef86e0", "x=1", "&".join(["a=1"] * 200))
    ]
    assert ends == [1_785_657_454_000_000, None, None, None, None]


@pytest.mark.parametrize(
    "billing, charged",
    [
        ([{"charge_type": "unit", "amount": "5.60"}], ("5.6", "unit")),
        ([{"charge_type": "unit", "amount": "5"}, {"charge_type": "unit", "amount": "0.1"}], ("5.1", "unit")),
        ([{"charge_type": "cash", "amount": "0.56", "currency": "USD"}], ("0.56", "USD")),
        (
            [{"charge_type": "cash", "amount": "1", "currency": "USD"}, {"charge_type": "unit", "amount": "1"}],
            (None, None),
        ),
        ([{"charge_type": "unit", "amount": "-1"}], (None, None)),
        ([{"charge_type": "unit", "amount": "1e999999999"}], (None, None)),
        ([], (None, None)),
        (None, (None, None)),
    ],
)
def test_billing_is_kept_exactly_or_not_at_all(billing: object, charged: tuple[str | None, str | None]) -> None:
    seen = asked({"id": JOB, "status": "succeeded", "billing": billing})
    assert (seen.charged, seen.cost_unit) == charged


# What a look-up says


def test_a_lost_job_is_asked_for_by_our_id_and_read_from_the_field_of_the_third_name() -> None:
    asks, seen = walk(
        CLOUDSWAY.look_up(account("cloudsway"), task("cloudsway"), CLUES),
        listing({"id": JOB, "status": "processing", "external_id": TASK_ID}),
    )
    assert [(ask.path, dict(ask.query)) for ask in asks] == [(TASKS, {"external_task_ids": TASK_ID})]
    assert (seen.claim, seen.provider_task_id, seen.external_id) == (Claim.RUNNING, JOB, TASK_ID)


def test_of_two_jobs_the_older_is_ours_and_the_other_is_named() -> None:
    jobs = [
        {"id": "2", "status": "processing", "external_id": TASK_ID, "create_time": 1783500000200},
        {"id": "1", "status": "submitted", "external_id": TASK_ID, "create_time": 1783500000100},
        {"id": "3", "status": "submitted", "external_id": TASK_ID},
    ]
    seen = looked_up(listing(*jobs))
    assert (seen.claim, seen.provider_task_id, seen.also) == (Claim.WAITING, "1", ("2", "3"))


def test_nothing_is_adopted_that_does_not_state_our_id() -> None:
    for strange in ({"id": JOB, "external_id": "task_other"}, {"id": JOB}, {"external_id": TASK_ID}, "x"):
        assert looked_up(listing(strange)).claim is Claim.UNKNOWN


def test_only_a_well_formed_empty_list_is_an_absence() -> None:
    assert looked_up(listing()).claim is Claim.ABSENT
    assert looked_up(reply({"code": 1203, "message": "no such", "data": []}, 404)).claim is Claim.UNREACHABLE
    assert looked_up(reply({"code": 1302, "message": "busy", "data": []})).claim is Claim.UNREACHABLE


# What a push says


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{}", b'{"data":[]}', b'[{"id":"1"},{"id":"2"}]', b"\xff\xfe", b"7"]
)
def test_a_push_that_holds_no_single_task_is_unknown(body: bytes) -> None:
    assert CLOUDSWAY.read(push(body)).claim is Claim.UNKNOWN


def test_a_push_with_a_number_for_an_id_keeps_every_digit() -> None:
    assert (
        CLOUDSWAY.read(push(b'{"id":901930004609634393,"status":"processing"}')).provider_task_id
        == "901930004609634393"
    )


def test_a_push_that_says_two_things_under_one_name_is_a_doorbell_only() -> None:
    assert CLOUDSWAY.read(push(b'{"id":"1","status":"succeeded","status":"failed"}')).claim is Claim.UNKNOWN


def test_klings_own_signature_vector_is_accepted_and_nothing_else_is() -> None:
    secret = "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI="
    body = (
        b'{"id":"1234567890","status":"succeeded","message":"","create_time":1781080778802,"update_time":1781080794151}'
    )
    headers = {
        "webhook-id": "9876543210",
        "webhook-timestamp": "1781080794",
        "webhook-signature": "v1,UsKlJP00XoQyOn410NM9xv34sP+Gl0jnOO9Lcpr7NJ4=",
    }
    now = 1_781_080_794_000_000
    assert CLOUDSWAY.signed(push(body, headers), secret, now)
    assert not CLOUDSWAY.signed(push(body + b" ", headers), secret, now)
    assert not CLOUDSWAY.signed(push(body, headers), secret, now + 301_000_000)
    assert not CLOUDSWAY.signed(push(body, {}), secret, now)
    other = base64.b64encode(hmac.digest(b"k" * 24, b"9876543210.1781080794." + body, hashlib.sha256)).decode()
    assert not CLOUDSWAY.signed(push(body, {**headers, "webhook-signature": f"v1,{other}"}), secret, now)


def test_alone_the_contract_still_refuses_without_naming_others() -> None:
    with pytest.raises(Invalid, match=r"^/input/mode: cloudsway/kling-3.0-turbo has no mode. Leave it out.$"):
        Cloudsway().prepare(request("cloudsway", {"prompt": "A.", "mode": "std"}))


def test_a_body_is_json_that_can_be_sent() -> None:
    assert json.loads(json.dumps(sent({"prompt": "A."}, CALLBACK_URL).body))


MADE_AT = 1_790_000_000_000  # milliseconds, as Kling tells them


@pytest.mark.parametrize(
    ("jobs", "found"),
    [
        ([{"id": JOB, "status": "submitted", "create_time": MADE_AT}], True),
        ([{"id": JOB, "status": "submitted", "create_time": MADE_AT - 200_000, "external_id": ""}], True),
        ([{"id": JOB, "status": "submitted", "create_time": MADE_AT - 400_000}], False),  # older than the task
        ([{"id": JOB, "status": "submitted"}], False),  # nothing says when it was made
        ([{"id": JOB, "create_time": MADE_AT}, {"id": "911000000000000018", "create_time": MADE_AT}], False),
        ([{"id": JOB, "create_time": MADE_AT, "external_id": "another"}], False),
    ],
)
def test_a_job_that_states_no_external_id_is_ours_only_when_it_cannot_be_anothers(
    jobs: list[dict[str, object]], found: bool
) -> None:
    ours = evolve(task("cloudsway"), created_at=MADE_AT * 1000)
    seen = walk(CLOUDSWAY.look_up(account("cloudsway"), ours, CLUES), listing(*jobs))[1]
    assert (seen.provider_task_id == JOB) is found
    assert found or seen.claim is Claim.UNKNOWN
