"""What the providers' own documents get wrong or hide, each pinned by its name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal

import pytest

from service.core.observation import Claim, Reading
from service.core.request import Invalid
from service.providers.base import Ask, Reply
from service.providers.registry import PROVIDERS
from storage.records import FailureCode
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

EVERY = [(name, model) for name, contract in PROVIDERS.items() for model in contract.models]
ULAZAI = [("ulazai", "kling-3.0"), ("ulazai", "kling-2.6")]
IMAGE = "https://assets.example.org/a.png"
JOB = "911000000000000017"
every_model = pytest.mark.parametrize(("name", "model"), EVERY, ids=[f"{name}/{model}" for name, model in EVERY])
both_ulazai = pytest.mark.parametrize(("name", "model"), ULAZAI)


def purchase(
    name: str, model: str | None = None, input: Mapping[str, object] | None = None, callback_url: str | None = None
) -> Ask:
    one = task(name, model=model, input=input)
    return walk(PROVIDERS[name].submit(account(name), one, callback_url), Reply(status=503))[0][0]


def sent(name: str, model: str | None = None, input: Mapping[str, object] | None = None) -> dict[str, object]:
    return dict(purchase(name, model, input).body or {})


def bought(name: str, body: object, status: int = 200, model: str | None = None) -> Reading:
    one = task(name, model=model)
    return walk(PROVIDERS[name].submit(account(name), one, CALLBACK_URL), reply(body, status))[1]


def asked(name: str, body: object, *, model: str | None = None, job: str = JOB) -> Reading:
    answer = body if isinstance(body, Reply) else reply(body)
    return walk(PROVIDERS[name].query(account(name), [task(name, job=job, model=model)]), answer)[1][TASK_ID]


def refused(name: str, input: Mapping[str, object], model: str | None = None) -> list[str]:
    with pytest.raises(Invalid) as told:
        PROVIDERS[name].prepare(request(name, input, model=model))
    return [fault.pointer for fault in told.value.faults]


@both_ulazai
def test_the_prompt_directory_is_always_declined_because_its_default_publishes(name: str, model: str) -> None:
    assert sent(name, model)["prompt_directory_optin"] is False
    assert sent(name, model, {"prompt": "A.", "share_publicly": False})["prompt_directory_optin"] is False
    assert sent(name, model, {"prompt": "A.", "share_publicly": True})["prompt_directory_optin"] is True


@both_ulazai
def test_the_translated_path_and_field_names_are_never_sent(name: str, model: str) -> None:
    ask = purchase(name, model)
    assert ask.path.endswith("/api/generate/")
    dutch = {"snel", "generatieModus", "afbeeldingUrls", "duur", "duurSeconden", "kwaliteitModus", "geluid"}
    assert not dutch & set(ask.body or {})
    assert (ask.body or {})["generationMode"] == "text_to_video"


def test_a_sample_charge_that_contradicts_the_stated_default_cannot_matter() -> None:
    """Their sample without the opt-in field shows 55; the default they state would give 45. It is never left out."""
    estimate = PROVIDERS["ulazai"].prepare(request("ulazai", {"prompt": "A."}, model="kling-2.6")).estimate
    assert estimate.amount == Decimal(55) and "prompt_directory_optin" in sent("ulazai", "kling-2.6")


@pytest.mark.parametrize("status", [200, 201, 202])
@both_ulazai
def test_flat_and_nested_answers_and_any_2xx_are_taken_from_both_models(name: str, model: str, status: int) -> None:
    for body in ({"task_id": "a1"}, {"data": {"task_id": "a1"}}):
        assert bought(name, {"success": True, **body}, status, model).provider_task_id == "a1"
    for body in ({"status": "processing"}, {"data": {"status": "processing"}}):
        assert asked(name, {"success": True, **body}, model=model).claim is Claim.RUNNING


def test_each_contract_gets_its_duration_in_its_own_type_and_place() -> None:
    assert sent("ulazai", "kling-3.0")["durationSeconds"] == 5
    assert sent("ulazai", "kling-2.6")["duration"] == "5"
    assert sent("cloudsway")["settings"] == {"resolution": "720p", "aspect_ratio": "16:9", "duration": 5}
    assert sent("acedata")["duration"] == 5
    assert sent("apiinone")["duration"] == 5


def test_an_aspect_ratio_is_refused_where_it_would_be_a_400_or_ignored() -> None:
    pictured = {"prompt": "A.", "image": IMAGE, "aspect_ratio": "1:1"}
    for name, model in (*ULAZAI, ("cloudsway", "kling-3.0-turbo")):
        assert refused(name, pictured, model) == ["/input/aspect_ratio"]


@every_model
def test_each_prompt_limit_is_counted_in_characters_and_not_in_bytes(name: str, model: str) -> None:
    limit = 2000 if model == "kling-2.6" else 2500
    assert PROVIDERS[name].prepare(request(name, {"prompt": "é" * limit}, model=model))
    assert refused(name, {"prompt": "é" * (limit + 1)}, model) == ["/input/prompt"]


def test_a_music_services_sample_reply_is_no_video() -> None:
    song = {
        "id": "75d8e08f",
        "model": "chirp-v3",
        "lyric": "la",
        "audio_url": "https://a.example.org/x",
        "video_url": "",
    }
    body = {"success": True, "data": [song, song]}
    assert bought("acedata", body).claim is Claim.AMBIGUOUS
    assert asked("acedata", body).claim is Claim.UNKNOWN
    assert PROVIDERS["acedata"].read(push(body)).claim is Claim.UNKNOWN


@pytest.mark.parametrize("model", PROVIDERS["acedata"].models)
def test_acedatas_default_model_is_gone_so_one_is_always_named(model: str) -> None:
    assert sent("acedata", model)["model"] == model
    assert next(iter(PROVIDERS["acedata"].models)) == "kling-v3"


@pytest.mark.parametrize("model", PROVIDERS["acedata"].models)
def test_acedata_is_never_called_synchronously(model: str) -> None:
    assert sent("acedata", model)["async"] is True
    assert (purchase("acedata", model, None, CALLBACK_URL).body or {})["callback_url"] == CALLBACK_URL


def test_api_in_ones_sound_defaults_to_true_and_is_always_said() -> None:
    assert sent("apiinone")["sound"] is False
    contract = PROVIDERS["apiinone"]
    assert contract.prepare(request("apiinone", {"prompt": "A."})).estimate.amount == Decimal(200)
    assert contract.prepare(request("apiinone", {"prompt": "A.", "sound": True})).estimate.amount == Decimal(300)


@every_model
def test_audio_is_said_wherever_there_is_a_switch(name: str, model: str) -> None:
    field = {"acedata": "generate_audio", "cloudsway": None}.get(name, "sound")
    assert field is None or isinstance(sent(name, model)[field], bool)


def test_api_in_one_gets_one_image_string_and_no_internals() -> None:
    body = sent("apiinone", None, {"prompt": "A.", "image": IMAGE})
    assert body["image"] == IMAGE and "node75" not in json.dumps(body)


def test_cloudsways_data_is_an_object_a_list_or_not_there() -> None:
    one = {"id": JOB, "status": "submitted"}
    assert bought("cloudsway", {"code": 0, "data": one}).claim is Claim.ACCEPTED
    assert asked("cloudsway", listing(one)).claim is Claim.WAITING
    assert PROVIDERS["cloudsway"].read(push(one)).claim is Claim.WAITING
    assert asked("cloudsway", listing()).claim is Claim.ABSENT


def test_an_envelope_that_says_succeed_holds_a_task_that_failed() -> None:
    seen = asked("cloudsway", listing({"id": JOB, "status": "failed", "message": "no luck"}))
    assert seen.claim is Claim.FAILED
    assert seen.failure is not None and seen.failure.provider_message == "no luck"


def test_http_200_with_another_code_than_0_is_a_refusal() -> None:
    seen = bought("cloudsway", {"code": 1301, "message": "risk", "data": None})
    assert (seen.claim, seen.failure and seen.failure.code) == (Claim.REFUSED, FailureCode.CONTENT_REJECTED)
    assert asked("cloudsway", {"code": 1302, "message": "busy", "data": []}).claim is Claim.UNREACHABLE


def test_our_id_has_three_names_at_cloudsway() -> None:
    body = purchase("cloudsway", None, None, CALLBACK_URL).body or {}
    assert body["options"] == {
        "external_task_id": TASK_ID,
        "callback_url": CALLBACK_URL,
        "watermark_info": {"enabled": False},
    }
    found = listing({"id": JOB, "status": "submitted", "external_id": TASK_ID})
    asks, seen = walk(PROVIDERS["cloudsway"].look_up(account("cloudsway"), task("cloudsway"), CLUES), found)
    assert [dict(ask.query) for ask in asks] == [{"external_task_ids": TASK_ID}]
    assert seen.external_id == TASK_ID


@pytest.mark.parametrize("input", [{"prompt": "A."}, {"prompt": "A.", "image": IMAGE}])
def test_nothing_is_put_where_cloudsway_would_silently_ignore_it(input: dict[str, object]) -> None:
    body = purchase("cloudsway", None, input, CALLBACK_URL).body or {}
    assert set(body) <= {"prompt", "contents", "settings", "options"}


def test_cloudsways_first_push_is_no_result_and_acedatas_only_push_is_one() -> None:
    assert PROVIDERS["cloudsway"].read(push({"id": JOB, "status": "submitted"})).claim is Claim.WAITING
    done = {"task_id": "c1", "success": True, "state": "succeed", "video_url": "https://a.example.org/x.mp4"}
    assert PROVIDERS["acedata"].read(push(done)).claim is Claim.SUCCEEDED


LINK = "https://a.example.org/x.mp4"


@pytest.mark.parametrize(
    "name, body",
    [
        ("cloudsway", {"code": 0, "data": [{"id": JOB, "status": "WORD", "outputs": [{"url": LINK}]}]}),
        ("acedata", {"id": JOB, "response": {"state": "WORD", "video_url": LINK}}),
        ("ulazai", {"task_id": JOB, "status": "WORD", "video_url": LINK}),
        ("apiinone", {"id": JOB, "status": "WORD", "video_url": LINK}),
    ],
)
def test_success_has_several_spellings_and_counts_only_in_the_providers_own(name: str, body: object) -> None:
    own = {
        "cloudsway": {"succeeded", "succeed"},
        "acedata": {"succeed", "succeeded", "success", "completed", "complete", "finished"},
        "ulazai": {"completed"},
        "apiinone": {"completed", "success", "succeeded"},
    }[name]
    for word in ("succeed", "succeeded", "success", "completed", "complete", "finished", "done", "voltooid"):
        for spelled in (word, word.upper(), f" {word.capitalize()} "):
            seen = asked(name, Reply(status=200, body=json.dumps(body).replace("WORD", spelled).encode()))
            assert (seen.claim is Claim.SUCCEEDED) == (word in own), (name, spelled)


@pytest.mark.parametrize(
    "name, body",
    [
        ("cloudsway", {"code": 0, "data": [{"id": JOB, "status": "succeeded", "outputs": []}]}),
        ("acedata", {"id": JOB, "finished_at": 1.5, "response": {"success": True, "state": "succeed"}}),
        ("ulazai", {"task_id": JOB, "status": "completed", "video_url": ""}),
        ("apiinone", {"id": JOB, "status": "COMPLETED"}),
    ],
)
def test_success_without_a_link_is_told_apart_from_success(name: str, body: object) -> None:
    seen = asked(name, body)
    assert (seen.claim, seen.outputs) == (Claim.SUCCEEDED, ())


@pytest.mark.parametrize(
    "name, body",
    [
        ("cloudsway", b'{"code":0,"data":{"id":901930004609634393,"status":"submitted"}}'),
        ("acedata", b'{"task_id":901930004609634393}'),
        ("ulazai", b'{"success":true,"task_id":901930004609634393}'),
        ("apiinone", b'{"code":200,"data":{"task_id":901930004609634393}}'),
    ],
)
def test_an_18_digit_id_sent_as_a_number_keeps_every_digit(name: str, body: bytes) -> None:
    seen = walk(PROVIDERS[name].submit(account(name), task(name), None), Reply(status=200, body=body))[1]
    assert seen.provider_task_id == "901930004609634393"


def test_milliseconds_and_float_seconds_are_both_no_obstacle() -> None:
    job = {"id": JOB, "status": "processing", "create_time": 1783500000123, "update_time": 1783500071000}
    assert asked("cloudsway", listing(job)).claim is Claim.RUNNING
    assert asked("acedata", {"id": JOB, "created_at": 1790000000.12, "started_at": 1790000000.9}).claim is Claim.RUNNING


def test_a_duration_comes_back_as_text_or_number_and_is_not_the_one_asked_for() -> None:
    made = asked(
        "cloudsway", listing({"id": JOB, "status": "succeeded", "outputs": [{"url": LINK, "duration": "5.041"}]})
    )
    assert [output.duration for output in made.outputs] == ["5.041"]
    body = {"data": {"task_id": JOB, "status": "completed", "video_url": LINK, "duration": 5}}
    assert [output.duration for output in asked("ulazai", body, model="kling-2.6").outputs] == ["5"]


@pytest.mark.parametrize(
    "name, body, status, claim, code",
    [
        ("cloudsway", {"code": 1302}, 429, Claim.DEFERRED, FailureCode.RATE_LIMITED),
        ("cloudsway", {"code": 1101}, 429, Claim.DEFERRED, FailureCode.INSUFFICIENT_CREDIT),
        ("cloudsway", {"code": 1100}, 429, Claim.DEFERRED, FailureCode.CREDENTIALS_REFUSED),
        ("cloudsway", {"code": 1304}, 429, Claim.DEFERRED, FailureCode.CREDENTIALS_REFUSED),
        ("cloudsway", {"message": "NO_BALANCER_ERROR"}, 400, Claim.DEFERRED, FailureCode.RATE_LIMITED),
        ("acedata", {"error": {"code": "used_up"}}, 403, Claim.DEFERRED, FailureCode.INSUFFICIENT_CREDIT),
        ("acedata", {"error": {"code": "forbidden"}}, 403, Claim.REFUSED, FailureCode.CONTENT_REJECTED),
        ("acedata", {"error": {"code": "disabled"}}, 400, Claim.DEFERRED, FailureCode.CREDENTIALS_REFUSED),
        ("ulazai", {"error": "only welcome credits"}, 402, Claim.DEFERRED, FailureCode.INSUFFICIENT_CREDIT),
    ],
)
def test_429_403_and_400_do_not_mean_what_they_usually_do(
    name: str, body: object, status: int, claim: Claim, code: FailureCode
) -> None:
    seen = bought(name, body, status)
    assert (seen.claim, seen.failure and seen.failure.code) == (claim, code)
    assert seen.account_refused == (code in (FailureCode.INSUFFICIENT_CREDIT, FailureCode.CREDENTIALS_REFUSED))


def test_acedata_echoes_our_callback_url_and_none_of_it_is_kept() -> None:
    seen = asked("acedata", {"id": JOB, "request": {"callback_url": CALLBACK_URL}, "started_at": 1.5})
    assert seen.claim is Claim.RUNNING and TOKEN not in repr(seen)


def test_acedatas_records_have_no_status_field_and_need_none() -> None:
    assert asked("acedata", {"id": JOB}).claim is Claim.WAITING
    assert asked("acedata", {"id": JOB, "started_at": 1.5}).claim is Claim.RUNNING


@every_model
def test_every_body_is_json_whatever_quotes_the_prompt_holds(name: str, model: str) -> None:
    prompt = "\u201cCurly\u201d, \"straight\" and 'single'"
    body = json.dumps(sent(name, model, {"prompt": prompt}))
    assert prompt in json.dumps(json.loads(body), ensure_ascii=False).replace('\\"', '"')


def test_two_contracts_never_push_so_polling_is_their_only_channel() -> None:
    assert {name for name, contract in PROVIDERS.items() if not contract.traits.callbacks} == {"ulazai", "apiinone"}


@both_ulazai
def test_the_upstreams_id_is_never_taken_for_the_jobs(name: str, model: str) -> None:
    assert bought(name, {"success": True, "provider_task_id": "9b1c42"}, 200, model).claim is Claim.AMBIGUOUS
    assert bought(name, {"task_id": "a1", "provider_task_id": "9b1c42"}, 200, model).provider_task_id == "a1"


def test_only_where_a_second_submission_is_safe_may_there_be_one() -> None:
    assert {name for name, contract in PROVIDERS.items() if contract.traits.resend} == {"cloudsway"}
    assert {name for name, contract in PROVIDERS.items() if contract.traits.look_up} == {"cloudsway", "acedata"}


@pytest.mark.parametrize(
    "name, input, word, able",
    [
        (
            "cloudsway",
            {"prompt": "A.", "end_image": IMAGE},
            "end_image",
            "acedata/kling-v3 and ulazai/kling-3.0 have it",
        ),
        ("ulazai", {"prompt": "A.", "camera": {"type": "simple"}}, "camera", "acedata/kling-v3 has it"),
        ("apiinone", {"prompt": "A.", "share_publicly": True}, "share_publicly", "ulazai/kling-3.0 has it"),
        ("acedata", {"prompt": "A.", "watermark": True}, "watermark", "cloudsway/kling-3.0-turbo has it"),
    ],
)
def test_what_a_contract_lacks_is_refused_with_those_that_have_it(
    name: str, input: dict[str, object], word: str, able: str
) -> None:
    with pytest.raises(Invalid) as told:
        PROVIDERS[name].prepare(request(name, input))
    assert {fault.pointer: able in fault.detail for fault in told.value.faults} == {f"/input/{word}": True}
