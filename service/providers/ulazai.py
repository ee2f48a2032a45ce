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

from service.core.observation import Claim, Reading
from service.core.request import TaskRequest
from service.providers import limits, meaning, reading
from service.providers.base import (
    Account,
    Ask,
    Clues,
    Estimate,
    Everyone,
    File,
    Flow,
    Model,
    Prepared,
    Push,
    Reply,
    Traits,
    parse_reply,
)
from service.providers.checks import ASPECT_RATIOS, Check
from service.providers.limits import Apart, Price
from service.providers.link_life import of_link
from service.providers.meaning import AMBIGUOUS, FORBIDDEN
from service.providers.uploading import stored_at
from storage.records import Output, Task

STATUSES = {
    "pending": Claim.WAITING,
    "processing": Claim.RUNNING,
    "completed": Claim.SUCCEEDED,
    "failed": Claim.FAILED,
}
MODES = {"standard": "std", "pro": "pro"}
IMAGES_LIMIT = 10  # the page names none; this one is ours

# An opted-in publication takes this off at once.
PUBLICATION_DISCOUNT = Decimal(10)
DISCOUNT = Price(unit="credit", amount=-PUBLICATION_DISCOUNT, per="task", when={"share_publicly": True})
PRICES_30 = (
    Price(unit="credit", amount=Decimal(20), when={"mode": "std", "sound": False}),
    Price(unit="credit", amount=Decimal(30), when={"mode": "std", "sound": True}),
    Price(unit="credit", amount=Decimal(27), when={"mode": "pro", "sound": False}),
    Price(unit="credit", amount=Decimal(40), when={"mode": "pro", "sound": True}),
    DISCOUNT,
)

# 2.6 has a fixed price by duration and sound. One page of theirs allows 2500 characters, the API's own 2000.
PRICES_26 = (
    Price(unit="credit", amount=Decimal(55), per="task", when={"duration": 5, "sound": False}),
    Price(unit="credit", amount=Decimal(110), per="task", when={"duration": 10, "sound": False}),
    Price(unit="credit", amount=Decimal(110), per="task", when={"duration": 5, "sound": True}),
    Price(unit="credit", amount=Decimal(220), per="task", when={"duration": 10, "sound": True}),
    DISCOUNT,
)
PROMPT_LIMIT_26 = 2000

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
    price: Callable[[Input], Decimal | None]
    refunds: bool  # the page says that a failure gives the credits back by itself


def _effective_30(check: Check) -> dict[str, object]:
    """Kling 3.0: the input with every default spelled out."""
    quality, mode = check.level(MODES, "mode")
    framed = "image" in check.given or "end_image" in check.given
    pictured = framed or "images" in check.given
    ratio = None if framed else check.choice("aspect_ratio", ASPECT_RATIOS, None if pictured else "16:9")
    effective = {
        "prompt": check.prompt(),
        "duration": check.seconds(),
        "aspect_ratio": ratio,
        "quality": quality,
        "mode": mode,
        "sound": check.flag("sound", False),
        "image": check.url("image"),
        "end_image": check.url("end_image"),
        "images": check.urls("images") or None,
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


def _effective_26(check: Check) -> dict[str, object]:
    """Kling 2.6: one quality, 5 or 10 seconds, one image at most."""
    pictured = "image" in check.given or "images" in check.given
    effective = {
        "prompt": check.prompt(),
        "duration": check.seconds_of(),
        "aspect_ratio": None if pictured else check.choice("aspect_ratio", ASPECT_RATIOS, "16:9"),
        "quality": check.choice("quality", ("standard",), "standard"),
        "sound": check.flag("sound", False),
        "image": check.url("image"),
        "images": check.urls("images") or None,
        "share_publicly": check.flag("share_publicly", False),
    }
    return {name: value for name, value in effective.items() if value is not None}


def _body_26(given: Input, options: Input) -> dict[str, object]:
    image = given.get("image")
    images = given.get("images") if image is None else [image]
    body = {
        "prompt": given["prompt"],
        "generationMode": "text_to_video" if images is None else "image_to_video",
        "imageUrls": images,
        "duration": str(given["duration"]),  # a string here, an integer on 3.0
        "aspectRatio": given.get("aspect_ratio"),
        "sound": bool(given.get("sound")),
        "prompt_directory_optin": given.get("share_publicly") is True,
    }
    return {name: value for name, value in body.items() if value is not None}


LIMITS_26 = {
    "prompt": limits.text(PROMPT_LIMIT_26, required=True),
    "duration": limits.seconds_of((5, 10)),
    "aspect_ratio": limits.choice(ASPECT_RATIOS, "16:9"),
    "quality": limits.choice(("standard",), "standard"),
    "sound": limits.flag(False),
    "image": limits.link(),
    "images": limits.links(1),
    "share_publicly": limits.flag(False),
}
MODEL_26 = Model(
    name="kling-2.6",
    inputs=frozenset(LIMITS_26),
    limits=LIMITS_26,
    apart=(
        Apart(word="images", others=("image",), why="takes exactly one image. Send image or images, not both."),
        Apart(
            word="aspect_ratio",
            others=("image", "images"),
            why="takes one for text to video only. Leave it out.",
        ),
    ),
    prices=PRICES_26,
)

LIMITS_30 = {
    "prompt": limits.text(2500, required=True),
    "duration": limits.seconds(3, 15),
    "aspect_ratio": limits.choice(ASPECT_RATIOS, "16:9"),
    "quality": limits.choice(MODES, "standard"),
    "mode": limits.choice(MODES.values(), "std"),
    "sound": limits.flag(False),
    "image": limits.link(),
    "end_image": limits.link(),
    "images": limits.links(IMAGES_LIMIT),
    "share_publicly": limits.flag(False),
}
MODEL_30 = Model(
    name="kling-3.0",
    inputs=frozenset(LIMITS_30),
    options=frozenset({"multiShots"}),
    limits=LIMITS_30,
    native={"multiShots": limits.flag(False)},
    apart=(
        Apart(
            word="aspect_ratio",
            others=("image", "end_image"),
            why="takes none together with start or end images. Leave it out.",
        ),
    ),
    rules=("quality and mode say the same: standard is std, pro is pro.",),
    prices=PRICES_30,
)

FORMS: Mapping[str, Form] = {
    "kling-3.0": Form(
        prefix="/kling30/api",
        model=MODEL_30,
        effective=_effective_30,
        body=_body_30,
        price=lambda given: limits.cost(PRICES_30, given),
        refunds=True,
    ),
    "kling-2.6": Form(
        prefix="/kling26/api",
        model=MODEL_26,
        effective=_effective_26,
        body=_body_26,
        price=lambda given: limits.cost(PRICES_26, given),
        refunds=False,
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
            form = FORMS[task.model]
            reply = yield Ask(method="GET", path=f"{form.prefix}/status/{quote(id, safe='')}/")
            found[task.id] = self._asked(reply, id, form)
        return found

    def look_up(self, account: Account, task: Task, clues: Clues) -> Flow[Reading]:
        return meaning.unaskable(self.name, "it finds no job by our id")
        yield  # a flow that asks nothing

    def upload(self, account: Account, file: File) -> Flow[str]:
        # The page says multipart, JPEG, PNG or WebP, at most 10 MB, and that the answer's URL is public. It names neither
        # the field nor the answer's members: `file` is the usual name.
        reply = yield Ask(method="POST", path="/kling30/api/upload/", file=file)
        return stored_at(self.name, reply)

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

    def _asked(self, reply: Reply, id: str, form: Form) -> Reading:
        if reply.status == 404:
            detail = f"{self.name} knows no job {id}"
            return Reading(claim=Claim.ABSENT, detail=detail, raw=reading.keep(reply.body))
        if not 200 <= reply.status < 300:
            answer = Answer(reading.envelope(reply))
            why = ANSWERS.get(reply.status, AMBIGUOUS)
            return meaning.unanswered(self.name, why, reply, message=answer.reason())
        return _job(Answer(reading.members(parse_reply(reply.body))), id, reply.body, form)


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


def _output(url: str, duration: object) -> Output:
    return Output(url=url, duration=reading.plain_amount(duration), expires_at=of_link(url))


def _job(answer: Answer, id: str, raw: bytes, form: Form) -> Reading:
    stated = reading.identifier(answer.get("task_id"))
    if stated is not None and stated != id:
        detail = f"asked for {id}, the answer speaks of another job"
        return Reading(claim=Claim.UNKNOWN, detail=detail, raw=reading.keep(raw))
    # `status` before `success`: on a neighbouring API of theirs a failed job comes with success true.
    status = reading.word(answer.get("status"))
    claim = STATUSES.get(status or "", Claim.UNKNOWN)
    url = reading.output_url(answer.get("video_url")) if claim is Claim.SUCCEEDED else None
    output = _output(url, answer.get("duration")) if url is not None else None
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
        refunded=failed and form.refunds,
        raw=reading.keep(raw),
    )
