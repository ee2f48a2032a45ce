"""Mutated real answers: no exception escapes, nothing ends that did not end, nothing is refused that may have been made.

A few hundred examples a parser; `make fuzz` runs ten thousand of each.
"""

from __future__ import annotations

import json
import os
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.core.observation import Claim
from service.providers.base import BadReply, Reply
from service.providers.registry import PROVIDERS
from tests.service.providers.builders import Sample, samples
from tests.service.providers.test_contract import ENDS, paths, read, sound

pytestmark = pytest.mark.slow  # `make fuzz` runs it, in CI with a slice of the examples

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))
thorough = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)

# What a mutation may not say by accident: an end, a refusal, or that it failed.
WORDS = {
    *("succeed", "succeeded", "success", "completed", "complete", "finished"),
    *("failed", "failure", "error", "cancelled", "canceled", "rejected"),
}
KEYS = {"code", "data", "error", "finished_at", "response", "state", "status", "success", "task_status", "items"}

numbers = st.integers() | st.integers(2**53, 2**80) | st.floats() | st.sampled_from([0, -1, 10**400, 1e308])
neutral = (
    st.none()
    | numbers.filter(lambda number: not 1000 <= number <= 6000)
    | st.text(max_size=40).filter(lambda text: text.strip().lower() not in WORDS and not text.strip().isdigit())
    | st.sampled_from(["\x00", "\ud800", "x" * 5000, "javascript:alert(1)", "https://127.0.0.1/", "../../x"])
)
keys = st.text(max_size=12).filter(lambda key: key not in KEYS)
values = st.recursive(
    neutral,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=8,
)

PARSERS = sorted({(name, sample.flow) for name in PROVIDERS for sample in samples(name)})
every_parser = pytest.mark.parametrize(("name", "flow"), PARSERS, ids=[f"{name}-{flow}" for name, flow in PARSERS])


@cache
def of(name: str, flow: str) -> list[Sample]:
    return [sample for sample in samples(name) if sample.flow == flow and "raises" not in sample.expect]


@st.composite
def mutants(draw: st.DrawFn, found: list[Sample]) -> tuple[Sample, bytes]:
    """A sample, and its body with one to four of its parts replaced, dropped, added or buried."""
    sample = draw(st.sampled_from(found))
    try:
        body = json.loads(sample.reply.body)
    except ValueError:
        body = {}
    for _ in range(draw(st.integers(1, 4))):
        body = mutate(draw, body)
    return sample, json.dumps(body).encode()


def mutate(draw: st.DrawFn, body: Any) -> Any:
    places = list(paths(body))
    if not places:
        return body
    path = draw(st.sampled_from(places))
    here = body
    for step in path[:-1]:
        here = here[step]
    match draw(st.sampled_from(["replace", "drop", "add", "bury", "number"])):
        case "replace":
            here[path[-1]] = draw(values)
        case "drop":
            del here[path[-1]]
        case "add" if isinstance(here, dict):
            here[draw(keys)] = draw(values)
        case "bury":
            for _ in range(draw(st.sampled_from([1, 2, 40]))):
                here[path[-1]] = [here[path[-1]]]
        case "number" if isinstance(here[path[-1]], str) and here[path[-1]].isdigit():
            here[path[-1]] = int(here[path[-1]])
        case _:
            pass
    return body


def _spelled(word: str, text: str) -> bool:
    """Whether a text holds a word, as it is or as JSON may escape it."""
    return word in text or json.dumps(word)[1:-1] in text


@every_parser
@thorough
@given(more=st.data())
def test_a_mutated_answer_says_nothing_that_the_real_one_did_not(name: str, flow: str, more: st.DataObject) -> None:
    sample, body = more.draw(mutants(of(name, flow)))
    before = read(sample)
    try:
        after = read(sample, Reply(status=sample.reply.status, headers=sample.reply.headers, body=body))
    except BadReply:
        assert flow in ("query", "look_up")
        return
    sound(after)
    assert after.claim not in ENDS or after.claim is before.claim
    assert all(output.url.partition("//")[0] in ("https:", "http:") for output in after.outputs)
    if before.claim in (Claim.ACCEPTED, Claim.AMBIGUOUS):
        assert after.claim in (before.claim, Claim.AMBIGUOUS)
    if after.claim is Claim.ACCEPTED:
        assert _spelled(str(after.provider_task_id), body.decode())


@every_parser
@thorough
@given(more=st.data())
def test_damaged_bytes_raise_nothing_but_bad_reply(name: str, flow: str, more: st.DataObject) -> None:
    sample = more.draw(st.sampled_from(of(name, flow)))
    raw = bytearray(sample.reply.body or b"{}")
    for _ in range(more.draw(st.integers(1, 3))):
        place = more.draw(st.integers(0, len(raw)))
        junk = more.draw(
            st.binary(max_size=4) | st.sampled_from([b'"', b"{", b"}", b"[" * 50, b"\\u0000", b"\xff", b"1e999"])
        )
        raw[place : place + more.draw(st.integers(0, 8))] = junk
    status = more.draw(st.sampled_from([sample.reply.status, 200, 201, 204, 302, 400, 403, 404, 429, 500, 504]))
    try:
        sound(read(sample, Reply(status=status, headers=sample.reply.headers, body=bytes(raw))))
    except BadReply:
        assert flow in ("query", "look_up")
