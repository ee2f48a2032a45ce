"""Each documented fact is held when it holds, differs by itself when it does not, and is unseen when nothing was seen."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from service.core.observation import Claim, Reading
from service.pipeline.probe.facts import Evidence, Verdict, facts, place_of
from service.pipeline.probe.questions import NOBODY
from service.providers.base import Reply
from tests.service.pipeline.probe.scene import OURS, account, evidence


def differing(seen: Evidence) -> list[str]:
    return [fact.name for fact in facts(seen) if fact.verdict is Verdict.DIFFERS]


def test_what_is_as_documented_holds() -> None:
    found = {fact.name: fact.verdict for fact in facts(evidence())}
    assert set(found.values()) == {Verdict.HELD, Verdict.NEW, Verdict.UNSEEN}
    assert [name for name, verdict in found.items() if verdict is not Verdict.HELD] == [
        "our id a second time",
        "signature of pushes",
    ]


def bought(seen: Evidence, reply: Reply) -> Evidence:
    return replace(seen, exchanges=[replace(seen.exchanges[0], reply=reply), *seen.exchanges[1:]])


def departed(what: str) -> Evidence:
    seen = evidence()
    first, answers = seen.exchanges[0].reply, seen.answers
    together: dict[str, Any] = {OURS: Reading(claim=Claim.SUCCEEDED), NOBODY: Reading(claim=Claim.ABSENT)}
    match what:
        case "accept status":
            return bought(seen, replace(first, status=202))
        case "job id stands at":
            return bought(
                seen, replace(first, body=json.dumps({"data": {"task": {"id": seen.task.provider_task_id}}}).encode())
            )
        case "our id told back":
            mute = [
                replace(one, reply=replace(one.reply, body=one.reply.body.replace(OURS.encode(), b"x")))
                for one in seen.exchanges
            ]
            return replace(seen, exchanges=mute)
        case "look-up by our id or URL":
            return replace(seen, answers=replace(answers, found=Reading(claim=Claim.ABSENT)))
        case "two ids in one query":
            return replace(seen, answers=replace(answers, together=together | {OURS: Reading(claim=Claim.ABSENT)}))
        case "an id that nobody has":
            return replace(seen, answers=replace(answers, together=together | {NOBODY: Reading(claim=Claim.UNKNOWN)}))
        case "pushes for one job":
            return replace(seen, pushes=[])
        case "job id in a push at":
            enveloped = [replace(one, body=json.dumps({"data": json.loads(one.body)}).encode()) for one in seen.pushes]
            return replace(seen, pushes=enveloped)
        case "status words":
            return replace(seen, readings=[*seen.readings, Reading(claim=Claim.UNKNOWN, provider_status="PAUSED")])
        case "charge stated":
            return replace(seen, task=replace(seen.task, cost_charged="3.0"))
        case "result link lives":
            return replace(seen, links=("https://x.example/v.mp4?Expires=1783586400",))
        case "a job takes":
            return replace(seen, ended_at=seen.ended_at + 600_000_000)
        case _:
            late = replace(seen.exchanges[1], at=seen.exchanges[1].at + 60_000_000)
            return replace(seen, exchanges=[seen.exchanges[0], late, *seen.exchanges[2:]])


@pytest.mark.parametrize("name", [
    "accept status", "job id stands at", "our id told back", "look-up by our id or URL", "two ids in one query",
    "an id that nobody has", "pushes for one job", "job id in a push at", "status words", "charge stated", "result link lives",
    "a job takes", "its clock and ours",
])  # fmt: skip
def test_each_departure_is_named_and_no_other(name: str) -> None:
    assert differing(departed(name)) == [name]


def test_where_nothing_could_be_seen_nothing_is_claimed() -> None:
    seen = evidence(exchanges=[], pushes=[], readings=[], links=(), account=account("cloudsway", CALLBACKS="off"))
    unseen = {fact.name for fact in facts(seen) if fact.verdict is Verdict.UNSEEN}
    assert {"accept status", "pushes for one job", "status words", "result link lives", "a job takes"} <= unseen
    assert [name for name in differing(seen) if name != "our id told back"] == []


@pytest.mark.parametrize(("pushes", "verdict"), [(0, Verdict.UNSEEN), (2, Verdict.HELD), (9, Verdict.DIFFERS)])
def test_pushes_that_an_earlier_run_may_have_got_are_not_missed(pushes: int, verdict: Verdict) -> None:
    seen = evidence()
    again = replace(seen, exchanges=seen.exchanges[1:], pushes=[seen.pushes[0]] * pushes)
    [found] = [fact for fact in facts(again) if fact.name == "pushes for one job"]
    assert found.verdict is verdict


def test_a_place_is_the_shallowest_and_only_of_the_whole_value() -> None:
    assert place_of(b'{"a": {"id": 7}, "b": [{"id": "7"}], "id": "77"}', "7") == "a.id"
    assert place_of(b'[{"id": "x"}]', "x") == "[].id"
    assert place_of(b'{"url": "https://x/7"}', "7") is None
    assert place_of(b"<html>", "7") is None and place_of(b"[" * 100_000, "7") is None
