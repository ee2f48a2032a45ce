"""A sixth contract that nobody offers, in one file, with its samples: what adding a provider takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from service.core.observation import Claim, Reading
from service.core.request import TaskRequest
from service.providers import meaning, reading
from service.providers.base import (
    Account,
    Ask,
    Clues,
    Estimate,
    Everyone,
    Flow,
    Model,
    Prepared,
    Push,
    Reply,
    Traits,
    parse_reply,
)
from service.providers.checks import ASPECT_RATIOS, Check
from storage.records import Output, Task

STATUSES = {"brewing": Claim.RUNNING, "raining": Claim.SUCCEEDED, "dry": Claim.FAILED}


class Nimbus:
    """The contract."""

    name = "nimbus"
    base_url = "https://api.nimbus.example"
    traits = Traits(callbacks=False)

    def __init__(self, everyone: Everyone = dict) -> None:
        words = frozenset({"prompt", "duration", "aspect_ratio", "quality", "sound"})
        self.models: Mapping[str, Model] = {"cumulus-1": Model(name="cumulus-1", inputs=words)}
        self._everyone = everyone

    def prepare(self, request: TaskRequest) -> Prepared:
        check = Check(self.name, self.models, request, self._everyone)
        effective = {
            "prompt": check.prompt(2500),
            "duration": check.seconds(3, 15),
            "aspect_ratio": check.choice("aspect_ratio", ASPECT_RATIOS, "16:9"),
            "quality": check.choice("quality", ("standard", "pro"), "standard"),
            "sound": check.flag("sound", False),
        }
        check.settle()
        return Prepared(input=effective, provider_options={}, estimate=Estimate(unit="drop", amount=None))

    def submit(self, account: Account, task: Task, callback_url: str | None) -> Flow[Reading]:
        reply = yield Ask(method="POST", path="/clouds", body=json.loads(task.input), paid=True)
        answer = reading.envelope(reply)
        id = reading.identifier(answer.get("cloud"))
        if reply.status // 100 == 2 and id is not None and reading.askable(id):
            return Reading(claim=Claim.ACCEPTED, provider_task_id=id, raw=reading.keep(reply.body))
        why = meaning.BY_STATUS.get(reply.status, meaning.AMBIGUOUS)
        return meaning.not_accepted(self.name, why, reply, message=reading.first_text(answer.get("why")))

    def query(self, account: Account, tasks: Sequence[Task]) -> Flow[Mapping[str, Reading]]:
        found: dict[str, Reading] = {}
        for task in tasks:
            if reading.askable(task.provider_task_id):
                reply = yield Ask(method="GET", path=f"/clouds/{task.provider_task_id}")
                found[task.id] = _job(self.name, reply)
            else:
                found[task.id] = meaning.unaskable(self.name, "its id cannot stand in a path")
        return found

    def look_up(self, account: Account, task: Task, clues: Clues) -> Flow[Reading]:
        return meaning.unaskable(self.name, "it finds no job whose id is not known")
        yield  # a flow that asks nothing

    def read(self, push: Push) -> Reading:
        return Reading(claim=Claim.UNKNOWN, raw=reading.keep(push.body))

    def signed(self, push: Push, secret: str, now: int) -> bool:
        return False


def _job(name: str, reply: Reply) -> Reading:
    if not 200 <= reply.status < 300:
        return meaning.unanswered(name, meaning.BY_STATUS.get(reply.status, meaning.AMBIGUOUS), reply)
    answer = reading.members(parse_reply(reply.body))
    word = reading.word(answer.get("sky"))
    claim = STATUSES.get(word or "", Claim.UNKNOWN)
    url = reading.output_url(answer.get("rain")) if claim is Claim.SUCCEEDED else None
    return Reading(
        claim=claim,
        provider_status=word,
        outputs=(Output(url=url),) if url is not None else (),
        failure=reading.failed(name, reading.text(answer.get("why"))) if claim is Claim.FAILED else None,
        raw=reading.keep(reply.body),
    )


def _sample(flow: str, status: int, body: object, **expect: object) -> dict[str, object]:
    reply = {"status": status, "text": body} if isinstance(body, str) else {"status": status, "body": body}
    return {"flow": flow, "job": "c1" if flow == "query" else None, "reply": reply, "expect": expect}


RAIN = "https://rain.nimbus.example/1.mp4"
SAMPLES = {
    "submit-ok": _sample("submit", 200, {"cloud": "c1"}, claim="accepted", provider_task_id="c1"),
    "submit-refused": _sample("submit", 400, {"why": "no wind"}, claim="refused", provider_message="no wind"),
    "submit-key": _sample("submit", 401, {}, claim="deferred", account_refused=True),
    "submit-busy": _sample("submit", 429, {}, claim="deferred", failure="rate_limited"),
    "submit-lost": _sample("submit", 503, "", claim="ambiguous"),
    "running": _sample("query", 200, {"sky": "brewing"}, claim="running"),
    "succeeded": _sample("query", 200, {"sky": "raining", "rain": RAIN}, claim="succeeded", outputs=[RAIN]),
    "failed": _sample("query", 200, {"sky": "dry", "why": "drought"}, claim="failed", provider_message="drought"),
    "unknown-word": _sample("query", 200, {"sky": "hail"}, claim="unknown", provider_status="hail"),
    "garbage": _sample("query", 200, "<html>", raises="BadReply"),
    "push": _sample("read", 200, {"sky": "raining"}, claim="unknown"),
}
