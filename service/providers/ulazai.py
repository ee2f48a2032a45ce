"""Kling through UlazAI. It never pushes, cannot be asked by our id and is asked one job at a time: polling is the only way.

Its pages are machine-translated; the JSON bodies and curl samples hold the real names. Each model has its own paths and
spelling: `FORMS` chooses by model. Failed and pending bodies are not shown anywhere, so replies are read leniently, flat
or under `data`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import quote

from service.core import money
from service.core.observation import Claim, Reading
from service.core.request import TaskRequest
from service.providers import meaning, reading
from service.providers.base import (
    Account,
    Ask,
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
from service.providers.meaning import AMBIGUOUS, FORBIDDEN
from storage.records import Output, Task

STATUSES = {
    "pending": Claim.WAITING,
    "processing": Claim.RUNNING,
    "completed": Claim.SUCCEEDED,
    "failed": Claim.FAILED,
}
MODES = {"standard": "std", "pro": "pro"}
IMAGES_LIMIT = 10  # the page names none; this one is ours

# Credits a second by mode and sound, and what an opted-in publication takes off at once.
CREDITS_A_SECOND = {
    ("std", False): Decimal(20),
    ("std", True): Decimal(30),
    ("pro", False): Decimal(27),
    ("pro", True): Decimal(40),
}
PUBLICATION_DISCOUNT = Decimal(10)

# 403 is a plain "forbidden" here (its error page), beside 401 for the key and 402 for credits.
ANSWERS = {**meaning.BY_STATUS, 403: FORBIDDEN}

Input = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One wire form: where its model lives, what it takes, how that is written and priced."""

    prefix: str
    model: Model
    effective: Callable[[Check], dict[str, object]]
    body: Callable[[Input, Input], dict[str, object]]
    price: Callable[[Input], Decimal]


def _effective_30(check: Check) -> dict[str, object]:
    """Kling 3.0: the input with every default spelled out."""
    quality, mode = check.level(MODES, "mode")
    framed = "image" in check.given or "end_image" in check.given
    if framed and "aspect_ratio" in check.given:
        check.refuse("aspect_ratio", "takes none together with start or end images. Leave it out.")
    pictured = framed or "images" in check.given
    ratio = None if framed else check.choice("aspect_ratio", ASPECT_RATIOS, None if pictured else "16:9")
    if not isinstance(check.options.get("multiShots", False), bool):
        check.refuse_option("multiShots", "takes true or false for multiShots.")
    effective = {
        "prompt": check.prompt(2500),
        "duration": check.seconds(3, 15),
        "aspect_ratio": ratio,
        "quality": quality,
        "mode": mode,
        "sound": check.flag("sound", False),
        "image": check.url("image"),
        "end_image": check.url("end_image"),
        "images": check.urls("images", IMAGES_LIMIT) or None,
        "share_publicly": check.flag("share_publicly", False),
    }
    return {name: value for name, value in effective.items() if value is not None}


def _body_30(given: Input, options: Input) -> dict[str, object]:
    pictured = any(name in given for name in ("image", "end_image", "images"))
    body = {
        "prompt": given["prompt"],
        "generationMode": "image_to_video" if pictured else "text_to_video",
        "durationSeconds": given["duration"],
        "qualityMode": given["mode"],
        # Defaults are not documented, and this pair decides the price: always said.
        "sound": bool(given.get("sound")),
        "multiShots": bool(options.get("multiShots")),
        "aspectRatio": given.get("aspect_ratio"),
        "startFrameUrl": given.get("image"),
        "endFrameUrl": given.get("end_image"),
        "imageUrls": given.get("images"),
        # True publishes the prompt and the video at once, and is the default on 2.6: never left to the provider.
        "prompt_directory_optin": given.get("share_publicly") is True,
    }
    return {name: value for name, value in body.items() if value is not None}


def _price_30(given: Input) -> Decimal:
    rate = CREDITS_A_SECOND[str(given["mode"]), bool(given.get("sound"))]
    credits = money.times(rate, Decimal(str(given["duration"])))
    return credits - PUBLICATION_DISCOUNT if given.get("share_publicly") is True else credits


WORDS_30 = frozenset(
    {
        "prompt",
        "duration",
        "aspect_ratio",
        "quality",
        "mode",
        "sound",
        "image",
        "end_image",
        "images",
        "share_publicly",
    }
)

FORMS: Mapping[str, Form] = {
    "kling-3.0": Form(
        prefix="/kling30/api",
        model=Model(name="kling-3.0", inputs=WORDS_30, options=frozenset({"multiShots"})),
        effective=_effective_30,
        body=_body_30,
        price=_price_30,
    ),
}


class UlazAI:
    """The contract. `everyone`: all contracts, so that a refusal can name those that take what this one lacks."""

    name = "ulazai"
    base_url = "https://ulazai.com"
    traits = Traits(callbacks=False, expected_seconds=120)  # "60-180 seconds"

    def __init__(self, everyone: Everyone = dict) -> None:
        self.models: Mapping[str, Model] = {name: form.model for name, form in FORMS.items()}
        self._everyone = everyone

    def prepare(self, request: TaskRequest) -> Prepared:
        check = Check(self.name, self.models, request, self._everyone)
        form = FORMS[request.model]
        effective = form.effective(check)
        check.settle()
        estimate = Estimate(unit="credit", amount=form.price(effective))
        return Prepared(input=effective, provider_options=dict(request.provider_options), estimate=estimate)

    def submit(self, account: Account, task: Task, callback_url: str | None) -> Flow[Reading]:
        form = FORMS[task.model]
        body = form.body(reading.members(json.loads(task.input)), reading.members(json.loads(task.provider_options)))
        # Without the last slash the POST would be redirected, and lose its body.
        reply = yield Ask(method="POST", path=f"{form.prefix}/generate/", body=body, paid=True)
        return self._submitted(reply)

    def query(self, account: Account, tasks: Sequence[Task]) -> Flow[Mapping[str, Reading]]:
        found: dict[str, Reading] = {}
        for task in tasks:
            if not reading.askable(task.provider_task_id):
                found[task.id] = meaning.unaskable(self.name, "its id cannot stand in a path")
                continue
            id = str(task.provider_task_id)
            reply = yield Ask(method="GET", path=f"{FORMS[task.model].prefix}/status/{quote(id, safe='')}/")
            found[task.id] = self._asked(reply, id)
        return found

    def look_up(self, account: Account, task: Task) -> Flow[Reading]:
        return meaning.unaskable(self.name, "it finds no job by our id")
        yield  # a flow that asks nothing

    def read(self, push: Push) -> Reading:
        return Reading(claim=Claim.UNKNOWN, detail=f"{self.name} sends no pushes", raw=reading.keep(push.body))

    def signed(self, push: Push, secret: str, now: int) -> bool:
        return False

    def _submitted(self, reply: Reply) -> Reading:
        answer = Answer(reading.envelope(reply))
        # A server error that names a job has made one. `provider_task_id` is the upstream's id, which status rejects.
        id = reading.identifier(answer.get("task_id"))
        if id is not None and reading.askable(id) and reply.status // 100 in (2, 5):
            return Reading(
                claim=Claim.ACCEPTED,
                provider_task_id=id,
                provider_status=reading.word(answer.get("status")),
                charged=reading.plain_amount(answer.get("credits_used")),
                cost_unit="credit",
                raw=reading.keep(reply.body),
            )
        found = ANSWERS.get(reply.status, AMBIGUOUS)
        return meaning.not_accepted(self.name, found, reply, message=answer.reason())

    def _asked(self, reply: Reply, id: str) -> Reading:
        if reply.status == 404:
            detail = f"{self.name} knows no job {id}"
            return Reading(claim=Claim.ABSENT, detail=detail, raw=reading.keep(reply.body))
        if not 200 <= reply.status < 300:
            answer = Answer(reading.envelope(reply))
            why = ANSWERS.get(reply.status, AMBIGUOUS)
            return meaning.unanswered(self.name, why, reply, message=answer.reason())
        return _job(Answer(reading.members(parse_reply(reply.body))), id, reply.body)


class Answer:
    """A reply's fields, flat (3.0) or under `data` (2.6)."""

    def __init__(self, outer: Mapping[str, object]) -> None:
        self._outer = outer
        self._inner = reading.members(outer.get("data"))

    def get(self, name: str) -> object:
        return self._inner.get(name, self._outer.get(name))

    def reason(self) -> str | None:
        """The failure in the provider's words; the body of a failure is not documented."""
        for value in (self.get("error_message"), self.get("error"), self.get("message")):
            if found := reading.text(value) or reading.text(reading.members(value).get("message")):
                return found
        return None


def _job(answer: Answer, id: str, raw: bytes) -> Reading:
    stated = reading.identifier(answer.get("task_id"))
    if stated is not None and stated != id:
        detail = f"asked for {id}, the answer speaks of another job"
        return Reading(claim=Claim.UNKNOWN, detail=detail, raw=reading.keep(raw))
    # `status` before `success`: on a neighbouring API of theirs a failed job comes with success true.
    status = reading.word(answer.get("status"))
    claim = STATUSES.get(status or "", Claim.UNKNOWN)
    url = reading.output_url(answer.get("video_url")) if claim is Claim.SUCCEEDED else None
    output = Output(url=url, duration=reading.plain_amount(answer.get("duration"))) if url is not None else None
    failed = claim is Claim.FAILED
    charged = None if failed else reading.plain_amount(answer.get("credits_charged"))
    return Reading(
        claim=claim,
        provider_task_id=id,
        provider_status=status,
        progress=reading.percent(answer.get("progress")),
        outputs=(output,) if output is not None else (),
        failure=reading.failed("ulazai", answer.reason()) if failed else None,
        charged=charged,
        cost_unit="credit" if charged is not None else None,
        refunded=failed,  # "on failure the credits are refunded automatically"
        raw=reading.keep(raw),
    )
