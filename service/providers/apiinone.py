"""Kling 3.0 through API in One. Its request is documented, its replies are not: three public descriptions disagree.

So replies are read leniently, but a job ends only on an answer that is certainly about it, and what does not fit is
unknown. The account stays off until somebody switches it on. No push, no id of ours, no look-up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from urllib.parse import quote

from service.core.observation import Claim, Reading
from service.core.request import TaskRequest
from service.providers import limits, meaning, reading
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
from service.providers.checks import ASPECT_RATIOS, SECONDS_DEFAULT, Check
from service.providers.limits import Price
from service.providers.link_life import of_link
from service.providers.meaning import AMBIGUOUS, FORBIDDEN
from storage.records import Output, Task

MODEL = "kling-3"
PROMPT_LIMIT = 2500
MODES = {"standard": "std", "pro": "pro"}
# Not stated here. A service with the same field names, probably the one behind it, allows this much.
SHOTS_LIMIT, SHOT_PROMPT_LIMIT, ELEMENTS_LIMIT = 5, 500, 3

PRICES = (
    Price(unit="credit", amount=Decimal(40), when={"mode": "std", "sound": False}),
    Price(unit="credit", amount=Decimal(60), when={"mode": "std", "sound": True}),
    Price(unit="credit", amount=Decimal(54), when={"mode": "pro", "sound": False}),
    Price(unit="credit", amount=Decimal(80), when={"mode": "pro", "sound": True}),
)

LIMITS = {
    "prompt": limits.text(PROMPT_LIMIT, required=True, unless=("shots",)),
    "duration": limits.seconds(3, 15),
    "aspect_ratio": limits.choice(ASPECT_RATIOS, "16:9"),
    "quality": limits.choice(MODES, "standard"),
    "mode": limits.choice(MODES.values(), "std"),
    "sound": limits.flag(False),
    "image": limits.link(),
    "shots": limits.shots(SHOTS_LIMIT, SHOT_PROMPT_LIMIT),
}
RULES = (
    "quality and mode say the same: standard is std, pro is pro.",
    "The durations of the shots add up to duration.",
    f"kling_elements holds 1 to {ELEMENTS_LIMIT} objects of texts and lists of texts.",
)

STATUSES = {
    **dict.fromkeys(("pending", "queued"), Claim.WAITING),
    **dict.fromkeys(("in_progress", "processing", "running"), Claim.RUNNING),
    **dict.fromkeys(("completed", "success", "succeeded"), Claim.SUCCEEDED),
    **dict.fromkeys(("failed", "error"), Claim.FAILED),
}
ANSWERS = {**meaning.BY_STATUS, 403: FORBIDDEN}

Fields = Mapping[str, object]


class ApiInOne:
    """The contract. `everyone`: all contracts, so that a refusal can name those that take what this one lacks."""

    name = "apiinone"
    base_url = "https://apiin.one"
    traits = Traits(callbacks=False, expected_seconds=120)  # nothing is stated

    def __init__(self, everyone: Everyone = dict) -> None:
        self.models: Mapping[str, Model] = {
            MODEL: Model(
                name=MODEL,
                inputs=frozenset(LIMITS),
                options=frozenset({"kling_elements"}),
                limits=LIMITS,
                rules=RULES,
                prices=PRICES,
            )
        }
        self._everyone = everyone

    def prepare(self, request: TaskRequest) -> Prepared:
        check = Check(self.name, self.models, request, self._everyone)
        effective = _effective(check)
        _elements(check)
        check.settle()
        estimate = Estimate(unit="credit", amount=limits.cost(PRICES, effective))
        return Prepared(input=effective, provider_options=dict(request.provider_options), estimate=estimate)

    def submit(self, account: Account, task: Task, callback_url: str | None) -> Flow[Reading]:
        given, native = reading.members(json.loads(task.input)), reading.members(json.loads(task.provider_options))
        reply = yield Ask(method="POST", path="/api/v1/videos/generations", body=_body(given, native), paid=True)
        return self._submitted(reply)

    def query(self, account: Account, tasks: Sequence[Task]) -> Flow[Mapping[str, Reading]]:
        found: dict[str, Reading] = {}
        for task in tasks:
            if not reading.askable(task.provider_task_id):
                found[task.id] = meaning.unaskable(self.name, "its id cannot stand in a path")
                continue
            id = str(task.provider_task_id)
            reply = yield Ask(method="GET", path=f"/api/v1/tasks/{quote(id, safe='')}")
            found[task.id] = self._asked(reply, id)
        return found

    def look_up(self, account: Account, task: Task, clues: Clues) -> Flow[Reading]:
        return meaning.unaskable(self.name, "it finds no job whose id is not known")
        yield  # a flow that asks nothing

    def read(self, push: Push) -> Reading:
        return Reading(claim=Claim.UNKNOWN, detail=f"{self.name} sends no pushes", raw=reading.keep(push.body))

    def signed(self, push: Push, secret: str, now: int) -> bool:
        return False

    def _submitted(self, reply: Reply) -> Reading:
        answer = reading.envelope(reply)
        ids = [id for id in _ids(answer) if reading.askable(id)]
        if ids and reply.status // 100 in (2, 5):
            return Reading(
                claim=Claim.ACCEPTED,
                provider_task_id=ids[0],
                provider_status=_word(answer),
                raw=reading.keep(reply.body),
            )
        why = ANSWERS.get(reply.status, AMBIGUOUS)
        return meaning.not_accepted(self.name, why, reply, code=_code(answer), message=_reason(answer))

    def _asked(self, reply: Reply, id: str) -> Reading:
        if reply.status == 404:
            detail = f"{self.name} knows no job {id}"
            return Reading(claim=Claim.ABSENT, detail=detail, raw=reading.keep(reply.body))
        good = 200 <= reply.status < 300
        answer = reading.members(parse_reply(reply.body)) if good else reading.envelope(reply)
        if not good or _code(answer) not in (None, "0", "200"):
            why = ANSWERS.get(reply.status, AMBIGUOUS)
            return meaning.unanswered(self.name, why, reply, code=_code(answer), message=_reason(answer))
        return _job(answer, id, reply.body)


# What is asked for


def _effective(check: Check) -> dict[str, object]:
    """The input with every default spelled out."""
    quality, mode = check.level(MODES, "mode")
    shots = check.shots()
    told = sum(shot["duration"] for shot in shots if isinstance(shot["duration"], int))
    duration = check.seconds(default=told if 3 <= told <= 15 else SECONDS_DEFAULT)
    if shots and told != duration:
        check.refuse("shots", f"needs shots that add up to the duration: they take {told} s of {duration} s.")
    effective = {
        "prompt": check.prompt(),
        "duration": duration,
        "aspect_ratio": check.choice("aspect_ratio", ASPECT_RATIOS, None if "image" in check.given else "16:9"),
        "quality": quality,
        "mode": mode,
        "sound": check.flag("sound", False),
        "image": check.url("image"),
        "shots": shots or None,
    }
    return {name: value for name, value in effective.items() if value is not None}


def _elements(check: Check) -> None:
    """The shape of an element is not stated: objects with texts and lists of texts, passed on as they are."""
    if "kling_elements" not in check.options:
        return
    value = check.options["kling_elements"]
    elements = value if isinstance(value, list) else []
    shaped = [
        isinstance(element, dict)
        and 1 <= len(element) <= 10
        and all(
            isinstance(part, str) or (isinstance(part, list) and all(isinstance(one, str) for one in part))
            for part in element.values()
        )
        for element in elements
    ]
    if not 1 <= len(elements) <= ELEMENTS_LIMIT or not all(shaped):
        check.refuse_option(
            "kling_elements", f"takes 1 to {ELEMENTS_LIMIT} elements, each an object of texts and lists of texts."
        )


def _body(given: Fields, native: Fields) -> dict[str, object]:
    shots = [reading.members(shot) for shot in reading.items(given.get("shots"))]
    body = {
        "model": MODEL,
        "prompt": given.get("prompt"),
        "mode": given["mode"],
        "duration": given["duration"],
        "aspect_ratio": given.get("aspect_ratio"),
        # The default is true here, and dearer by half: always said.
        "sound": bool(given.get("sound")),
        "image": given.get("image"),
        "multi_shots": True if shots else None,
        "multi_prompt": [{"prompt": shot["prompt"], "duration": shot["duration"]} for shot in shots] or None,
        "kling_elements": native.get("kling_elements"),
    }
    return {name: value for name, value in body.items() if value is not None}


# What is answered


def _ids(answer: Fields) -> list[str]:
    """Every id that an answer states, the likeliest first."""
    inner = reading.members(answer.get("data"))
    stated = (inner.get("task_id"), inner.get("id"), inner.get("taskId"), answer.get("task_id"), answer.get("id"))
    return [id for value in stated if (id := reading.identifier(value)) is not None]


def _word(answer: Fields) -> str | None:
    """The job's status word. A word beside `data` is the envelope's and says nothing of the job."""
    fields = reading.members(answer["data"]) if "data" in answer else answer
    return reading.word(fields.get("status")) or reading.word(fields.get("state"))


def _code(answer: Fields) -> str | None:
    code = reading.members(answer.get("error")).get("code", answer.get("code"))
    return str(code) if reading.whole(code) is not None else reading.word(code)


def _reason(answer: Fields) -> str | None:
    inner, error = reading.members(answer.get("data")), answer.get("error")
    return reading.first_text(
        reading.members(error).get("message"),
        error,
        reading.members(inner.get("error")).get("message"),
        inner.get("error"),
        inner.get("fail_reason"),
        None if _code(answer) in ("0", "200") else answer.get("message"),
    )


def _url(answer: Fields) -> str | None:
    inner = reading.members(answer.get("data"))
    made = reading.members(inner.get("output"))
    candidates = [made.get("video_url"), made.get("url"), inner.get("video_url"), inner.get("url")]
    candidates += reading.items(inner.get("result_urls"))[:1]
    for name in ("results", "outputs"):
        candidates += [reading.members(item).get("url") for item in reading.items(inner.get(name))[:1]]
    candidates += [reading.members(answer.get("output")).get("video_url"), answer.get("video_url"), answer.get("url")]
    return next((url for value in candidates if (url := reading.output_url(value)) is not None), None)


def _job(answer: Fields, id: str, raw: bytes) -> Reading:
    stated = _ids(answer)
    if stated and id not in stated:
        detail = f"asked for {id}, the answer speaks of another job"
        return Reading(claim=Claim.UNKNOWN, detail=detail, raw=reading.keep(raw))
    word = _word(answer)
    claim = STATUSES.get(word or "", Claim.UNKNOWN)
    url = _url(answer) if claim is Claim.SUCCEEDED else None
    if claim in (Claim.SUCCEEDED, Claim.FAILED) and not stated and "data" not in answer and url is None:
        claim = Claim.UNKNOWN  # a bare "status: error" may be the query's own failure
    failed = claim is Claim.FAILED
    return Reading(
        claim=claim,
        provider_task_id=id,
        provider_status=word,
        outputs=(Output(url=url, expires_at=of_link(url)),) if url is not None else (),
        failure=reading.failed("apiinone", reading.text(_reason(answer))) if failed else None,
        refunded=failed,  # "billed per successful request"
        raw=reading.keep(raw),
    )
