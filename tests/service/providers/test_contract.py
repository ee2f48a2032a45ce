"""One suite for all contracts: what every adapter owes, whatever its provider says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.core.observation import Claim, Reading
from service.core.request import Invalid
from service.providers.base import BadReply, Provider, Push, Reply
from service.providers.registry import PROVIDERS
from storage.records import FailureCode
from tests.service.providers.builders import (
    CALLBACK_URL,
    CLUES,
    KEY,
    SAMPLES,
    TASK_ID,
    TOKEN,
    Sample,
    account,
    request,
    samples,
    task,
    walk,
)

ALL = [sample for name in PROVIDERS for sample in samples(name)]
NEEDED = {
    "submit-ok",
    "submit-refused",
    "submit-key",
    "submit-busy",
    "submit-lost",
    "running",
    "succeeded",
    "failed",
    "unknown-word",
    "garbage",
    "push",
}
SUBMITTED = {Claim.ACCEPTED, Claim.REFUSED, Claim.DEFERRED, Claim.AMBIGUOUS}
ENDS = {Claim.SUCCEEDED, Claim.FAILED}
JOB = "911000000000000017"

every_provider = pytest.mark.parametrize("name", PROVIDERS)
every_sample = pytest.mark.parametrize("sample", ALL, ids=lambda sample: f"{sample.provider}-{sample.name}")
fuzz = settings(max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])


def read(sample: Sample, reply: Reply | None = None) -> Reading:
    """Put a sample, or another reply in its place, through the flow it belongs to."""
    contract, reply = sample.contract, reply or sample.reply
    where = account(sample.provider)
    match sample.flow:
        case "submit":
            return walk(contract.submit(where, task(sample.provider, model=sample.model), CALLBACK_URL), reply)[1]
        case "query":
            return batch(sample, reply)[TASK_ID]
        case "look_up":
            return walk(contract.look_up(where, task(sample.provider), CLUES), reply)[1]
        case _:
            return contract.read(Push(headers=reply.headers, body=reply.body))


def batch(sample: Sample, reply: Reply) -> Mapping[str, Reading]:
    """The readings of all jobs that the sample asks after, its own under our usual task id."""
    model = sample.model
    asked = [task(sample.provider, job=sample.job, model=model)]
    asked += [task(sample.provider, id=f"task_{job}", job=job, model=model) for job in sample.others]
    return walk(sample.contract.query(account(sample.provider), asked), reply)[1]


def sound(reading: Reading) -> None:
    """What holds for every reading there can be."""
    assert reading.claim in SUBMITTED | ENDS | {
        Claim.WAITING,
        Claim.RUNNING,
        Claim.UNKNOWN,
        Claim.ABSENT,
        Claim.UNREACHABLE,
    }
    assert (reading.claim is Claim.ACCEPTED) <= bool(reading.provider_task_id)
    assert (reading.claim is Claim.FAILED) <= (reading.failure is not None)
    assert reading.failure is None or reading.claim in {Claim.FAILED, Claim.REFUSED, Claim.DEFERRED}
    assert reading.outputs == () or reading.claim is Claim.SUCCEEDED
    assert reading.raw is None or len(reading.raw) <= 16 * 1024
    assert reading.charged is None or re.fullmatch(r"[0-9]+(\.[0-9]+)?", reading.charged)
    for text in (reading.provider_task_id, reading.external_id, reading.provider_status, reading.detail):
        assert text is None or (len(text) <= 1000 and "\x00" not in text and text.encode())
    if reading.failure is not None:
        assert "\x00" not in reading.failure.message and reading.failure.message.encode()


@every_provider
def test_every_provider_has_the_samples_that_a_contract_needs(name: str) -> None:
    traits = PROVIDERS[name].traits
    needed = NEEDED | ({"push-duplicate"} if traits.callbacks else set()) | ({"batch"} if traits.batch > 1 else set())
    assert {sample.name for sample in samples(name)} >= needed | ({"lookup-found"} if traits.look_up else set())


@every_provider
def test_each_job_of_a_batch_gets_its_own_answer_wherever_it_stands(name: str) -> None:
    for sample in samples(name):
        if sample.others:
            assert len(sample.others) < PROVIDERS[name].traits.batch
            seen = batch(sample, sample.reply)
            assert {job: seen[f"task_{job}"].claim.value for job in sample.others} == sample.others


@every_provider
def test_a_push_sent_again_says_the_same(name: str) -> None:
    pushes = {sample.name: sample for sample in samples(name) if sample.flow == "read"}
    if "push-duplicate" in pushes:
        first, again = read(pushes["push"]), read(pushes["push-duplicate"])
        assert replace(first, raw=None) == replace(again, raw=None)


def test_no_samples_lie_about_for_a_provider_that_is_not_registered() -> None:
    assert {path.name for path in SAMPLES.iterdir() if path.is_dir()} <= set(PROVIDERS)


@every_sample
def test_each_sample_is_read_as_expected(sample: Sample) -> None:
    if sample.expect.get("raises") == "BadReply":
        with pytest.raises(BadReply):
            read(sample)
        return
    seen = read(sample)
    sound(seen)
    told = {
        "claim": seen.claim.value,
        "failure": seen.failure.code.value if seen.failure else None,
        "provider_message": seen.failure.provider_message if seen.failure else None,
        "outputs": [output.url for output in seen.outputs],
    }
    for field, expected in sample.expect.items():
        assert told.get(field, getattr(seen, field, None)) == expected, field


@every_sample
def test_the_same_message_read_twice_gives_equal_readings(sample: Sample) -> None:
    if "raises" not in sample.expect:
        assert read(sample) == read(sample)


@every_provider
def test_garbage_in_answer_to_a_purchase_is_ambiguous_and_never_a_refusal(name: str) -> None:
    garbage = next(sample for sample in samples(name) if sample.name == "garbage")
    seen = walk(PROVIDERS[name].submit(account(name), task(name), CALLBACK_URL), garbage.reply)[1]
    assert seen.claim is Claim.AMBIGUOUS


@every_provider
@pytest.mark.parametrize("status", [301, 302, 307, 408, 409, 425, 500, 502, 503, 504, 520, 999])
def test_statuses_that_prove_nothing_are_ambiguous_for_a_purchase(name: str, status: int) -> None:
    seen = walk(PROVIDERS[name].submit(account(name), task(name), CALLBACK_URL), Reply(status=status))[1]
    assert seen.claim is Claim.AMBIGUOUS
    assert seen.failure is None


@every_provider
@pytest.mark.parametrize("status", [400, 401, 402, 404, 422, 429])
def test_statuses_that_prove_nothing_was_made_are_refused_or_deferred(name: str, status: int) -> None:
    seen = walk(PROVIDERS[name].submit(account(name), task(name), None), Reply(status=status))[1]
    assert seen.claim is (Claim.DEFERRED if status in (401, 402, 429) else Claim.REFUSED)
    assert seen.account_refused == (status in (401, 402))


@every_provider
@pytest.mark.parametrize("status", [301, 401, 429, 500, 503])
def test_a_query_that_fails_says_nothing_of_the_job(name: str, status: int) -> None:
    seen = walk(PROVIDERS[name].query(account(name), [task(name, job=JOB)]), Reply(status=status, body=b"<html>"))[1]
    assert seen[TASK_ID].claim is Claim.UNREACHABLE


@every_provider
def test_a_purchase_is_the_only_paid_ask(name: str) -> None:
    contract, where, one = PROVIDERS[name], account(name), task(name, job=JOB)
    empty = Reply(status=503)
    assert [ask.paid for ask in walk(contract.submit(where, one, CALLBACK_URL), empty)[0]] == [True]
    others = walk(contract.query(where, [one]), empty)[0] + walk(contract.look_up(where, one, CLUES), empty)[0]
    assert not any(ask.paid for ask in others)


@every_provider
def test_a_callback_url_is_sent_only_when_given_and_only_where_pushes_exist(name: str) -> None:
    contract = PROVIDERS[name]
    with_url = walk(contract.submit(account(name), task(name), CALLBACK_URL), Reply(status=503))[0][0]
    without = walk(contract.submit(account(name), task(name), None), Reply(status=503))[0][0]
    assert (CALLBACK_URL in json.dumps(with_url.body)) == contract.traits.callbacks
    assert "callback" not in json.dumps(without.body)


@every_provider
def test_the_portable_core_is_taken_and_echoed_in_full(name: str) -> None:
    portable = {"prompt": "A tram.", "duration": 5, "aspect_ratio": "16:9", "quality": "standard"}
    ready = PROVIDERS[name].prepare(request(name, portable))
    assert portable.items() <= dict(ready.input).items()
    assert isinstance(ready.input["sound"], bool)
    assert dict(PROVIDERS[name].prepare(request(name, {"prompt": "A tram."})).input) == dict(ready.input)


@every_provider
@pytest.mark.parametrize("input", [{"prompt": "A."}, {"prompt": "A.", "quality": "pro", "duration": 9}])
def test_an_effective_input_asked_for_again_is_itself(name: str, input: dict[str, object]) -> None:
    once = PROVIDERS[name].prepare(request(name, input))
    assert PROVIDERS[name].prepare(request(name, once.input)) == once


@every_provider
def test_every_fault_is_told_at_once_with_its_pointer(name: str) -> None:
    with pytest.raises(Invalid) as told:
        PROVIDERS[name].prepare(request(name, {"prompt": " ", "duration": 99, "quality": "best", "action": "extend"}))
    pointers = {fault.pointer for fault in told.value.faults}
    assert pointers == {"/input/prompt", "/input/duration", "/input/quality", "/input/action"}


@every_provider
@pytest.mark.parametrize("length, fits", [(2500, True), (2501, False)])
@pytest.mark.parametrize("letter", ["a", "é", "👩", "e\u0301"[1]])
def test_prompts_are_counted_in_code_points(name: str, length: int, fits: bool, letter: str) -> None:
    wanted = request(name, {"prompt": letter * length})
    if fits:
        assert PROVIDERS[name].prepare(wanted).input["prompt"] == letter * length
    else:
        with pytest.raises(Invalid, match=r"/input/prompt: .* 2500 characters"):
            PROVIDERS[name].prepare(wanted)


@every_provider
@pytest.mark.parametrize(
    "word", ["callback_url", "external_task_id", "options", "settings", "prompt_directory_optin", "model"]
)
def test_native_fields_that_are_ours_to_set_cannot_be_smuggled_in(name: str, word: str) -> None:
    with pytest.raises(Invalid) as told:
        PROVIDERS[name].prepare(request(name, {"prompt": "A."}, provider_options={word: "x"}))
    assert [fault.pointer for fault in told.value.faults] == [f"/provider_options/{word}"]


@every_provider
def test_an_unknown_model_is_answered_with_the_ones_there_are(name: str) -> None:
    with pytest.raises(Invalid, match=f'^/model: {name} has no "sora-9"'):
        PROVIDERS[name].prepare(request(name, {"prompt": "A."}, model="sora-9"))


@every_provider
@pytest.mark.parametrize("id", ["../../admin", "a?b=c", "a/b", "a,b", "a b", "é", "a" * 129, "a\n"])
def test_an_id_that_could_change_the_request_is_never_asked_for(name: str, id: str) -> None:
    asked, seen = walk(PROVIDERS[name].query(account(name), [task(name, job=id)]))
    assert asked == []
    assert seen[TASK_ID].claim is Claim.UNREACHABLE


@every_sample
def test_no_secret_survives_in_a_reading(sample: Sample) -> None:
    """Whatever a provider echoes in place of any text it sends."""
    leaks = f"{CALLBACK_URL} {CALLBACK_URL.replace('/', chr(92) + '/')} Authorization: Bearer {KEY}"
    for body in mutants(sample.reply.body, leaks):
        try:
            seen = read(sample, Reply(status=sample.reply.status, headers=sample.reply.headers, body=body))
        except BadReply as error:
            assert TOKEN not in str(error) and KEY not in str(error)
            continue
        assert TOKEN not in repr(seen) and KEY not in repr(seen)


def mutants(body: bytes, value: object) -> Iterator[bytes]:
    """The body with each of its values in turn replaced, and the value alone."""
    yield json.dumps(value).encode()
    try:
        whole = json.loads(body)
    except ValueError:
        return
    for path in paths(whole):
        copy = json.loads(body)
        here = copy
        for step in path[:-1]:
            here = here[step]
        here[path[-1]] = value
        yield json.dumps(copy).encode()


def paths(value: object, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, child in inner:
        yield (*at, step)
        yield from paths(child, (*at, step))


ODD: list[object] = [
    None,
    True,
    -1,
    0,
    10**30,
    1.5,
    "",
    "\x00\ud800",
    "x" * 5000,
    [],
    {},
    [[]],
    {"a": [None]},
    "succeeded",
    "completed",
]


@every_sample
def test_one_odd_value_anywhere_raises_nothing_but_bad_reply(sample: Sample) -> None:
    for odd in ODD:
        for body in mutants(sample.reply.body, odd):
            try:
                sound(read(sample, Reply(status=sample.reply.status, headers=sample.reply.headers, body=body)))
            except BadReply:
                assert sample.flow == "query" or sample.flow == "look_up"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
bodies = st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode())


@pytest.mark.parametrize("flow", ["submit", "query", "look_up", "read"])
@every_provider
@fuzz
@given(body=bodies, status=st.sampled_from([200, 201, 204, 302, 400, 404, 429, 500]) | st.integers(100, 999))
def test_random_answers_raise_nothing_but_bad_reply_and_end_nothing(
    name: str, flow: str, body: bytes, status: int
) -> None:
    sample = Sample(provider=name, name="", flow=flow, job=JOB, reply=Reply(status=status, body=body), expect={})
    try:
        seen = read(sample)
    except BadReply:
        assert flow in ("query", "look_up")
        return
    sound(seen)
    assert seen.claim not in ENDS
    if flow == "submit":
        assert seen.claim in SUBMITTED - {Claim.ACCEPTED}


@every_provider
@pytest.mark.parametrize("depth", [40, 100_000])
def test_nesting_bombs_are_unreadable_and_nothing_worse(name: str, depth: int) -> None:
    bomb = b'{"data":' + b"[" * depth + b"]" * depth + b"}"
    with pytest.raises(BadReply):
        walk(PROVIDERS[name].query(account(name), [task(name, job=JOB)]), Reply(status=200, body=bomb))
    assert PROVIDERS[name].read(Push(headers={}, body=bomb)).claim is Claim.UNKNOWN


@every_provider
def test_failure_codes_come_from_the_closed_set(name: str) -> None:
    for sample in samples(name):
        assert sample.expect.get("failure") in {None, *(code.value for code in FailureCode)}


def test_every_contract_satisfies_the_protocol() -> None:
    contracts: list[Provider] = list(PROVIDERS.values())
    assert [contract.name for contract in contracts] == list(PROVIDERS)
