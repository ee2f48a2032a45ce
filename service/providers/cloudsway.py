"""Kling 3.0 turbo through Cloudsway. Pushes on every change; unsigned unless Kling's own secret is known, so a push is a hint.

Cloudsway proxies Kling's new API (model name in the path) and documents little beyond the happy path. What it leaves
open follows Kling's own pages: error codes, push body, `billing`. Fields outside `settings` and `options` are silently
ignored there, so none is ever put at the top. Audio is always made and cannot be switched off.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from urllib.parse import quote

from service.core import money, signature
from service.core.observation import Claim, Reading
from service.core.request import TaskRequest
from service.providers import limits, meaning, reading
from service.providers.base import (
    Account,
    Ask,
    BadReply,
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
from service.providers.limits import Apart, Price
from service.providers.link_life import of_link
from service.providers.meaning import AMBIGUOUS, BUSY, CONTENT, CREDIT, INVALID, KEY, NOT_THERE, Meaning
from storage.records import Output, Task

MODEL = "kling-3.0-turbo"
PROMPT_LIMIT = 2500  # the page allows 3072 and advises at most 2500, which is also the limit beside an image
SHOTS_LIMIT, SHOT_PROMPT_LIMIT = 6, 512
RESOLUTIONS = {"standard": "720p", "pro": "1080p"}
# Kling's list price; Cloudsway's own is not published.
PRICES = (
    Price(unit="unit", amount=Decimal("0.8"), when={"resolution": "720p"}),
    Price(unit="unit", amount=Decimal("1.0"), when={"resolution": "1080p"}),
)

LIMITS = {
    "prompt": limits.text(PROMPT_LIMIT, required=True, unless=("image", "shots")),
    "duration": limits.seconds(3, 15),
    "aspect_ratio": limits.choice(ASPECT_RATIOS, "16:9"),
    "quality": limits.choice(RESOLUTIONS, "standard"),
    "resolution": limits.choice(RESOLUTIONS.values(), "720p"),
    "sound": limits.flag(True, only=True),
    "image": limits.link(),
    "shots": limits.shots(SHOTS_LIMIT, SHOT_PROMPT_LIMIT),
    "watermark": limits.flag(False),
}
WORDS = frozenset(LIMITS)
APART = (Apart(word="aspect_ratio", others=("image",), why="takes it from the image. Leave it out."),)
RULES = (
    "The durations of the shots add up to duration.",
    f"Prompt and shots together take {PROMPT_LIMIT} characters, as they are numbered in one text.",
    "quality and resolution say the same: standard is 720p, pro is 1080p.",
)

STATUSES = {
    "submitted": Claim.WAITING,
    "processing": Claim.RUNNING,
    "succeeded": Claim.SUCCEEDED,
    "succeed": Claim.SUCCEEDED,  # spelling of Kling's older API, which pushes may still use
    "failed": Claim.FAILED,
}

# Kling's business codes decide before the HTTP status: 1101 (arrears) and 1302 (too fast) both come with 429.
CODES: Mapping[int, Meaning] = {
    **dict.fromkeys((1000, 1001, 1002, 1003, 1004, 1100, 1103, 1304), KEY),
    **dict.fromkeys((1101, 1102), CREDIT),
    **dict.fromkeys((1200, 1201), INVALID),
    **dict.fromkeys((1202, 1203), NOT_THERE),
    **dict.fromkeys((1300, 1301), CONTENT),
    **dict.fromkeys((1302, 1303), BUSY),
    **dict.fromkeys((5000, 5001, 5002), AMBIGUOUS),
}

# The gateway's own words inside a 400, whose body is not documented. The first four are capacity and not our fault.
GATEWAY_WORDS: tuple[tuple[bytes, Meaning], ...] = (
    (b"NO_BALANCER_ERROR", BUSY),
    (b"NO_PROVIDER_ERROR", BUSY),
    (b"NO_PASSAGEWAY", BUSY),
    (b"AI_PASSAGEWAY_GROUP_IS_EMPTY_ERROR", BUSY),
    (b"MODEL_TYPE_NOT_FOUND", NOT_THERE),
    (b"NO_ENDPOINT", NOT_THERE),
    (b"response was filtered", CONTENT),
)


class Cloudsway:
    """The contract. `everyone`: all contracts, so that a refusal can name those that take what this one lacks."""

    name = "cloudsway"
    base_url = "https://genaiapi-m2.cloudsway.net"
    # One sample took 66.4 s from creation to success. At most 20 ids a query is Kling's rule.
    traits = Traits(callbacks=True, batch=20, look_up=True, resend=True, expected_seconds=66, no_job="1" + "0" * 17)

    def __init__(self, everyone: Everyone = dict) -> None:
        self.models: Mapping[str, Model] = {
            MODEL: Model(name=MODEL, inputs=WORDS, limits=LIMITS, apart=APART, rules=RULES, prices=PRICES)
        }
        self._everyone = everyone

    def prepare(self, request: TaskRequest) -> Prepared:
        check = Check(self.name, self.models, request, self._everyone)
        effective = _effective(check)
        if len(_text(effective)) > PROMPT_LIMIT and "shots" in effective and not check.faults:
            check.refuse("shots", f"takes {PROMPT_LIMIT} characters for prompt and shots together. Shorten them.")
        check.settle()
        estimate = Estimate(unit="unit", amount=limits.cost(PRICES, effective))
        return Prepared(input=effective, provider_options={}, estimate=estimate)

    def submit(self, account: Account, task: Task, callback_url: str | None) -> Flow[Reading]:
        path = _path(account)
        if path is None:
            return meaning.unsubmittable(self.name, _NO_PATH.format(account=account.name.upper()))
        given = reading.members(json.loads(task.input))
        kind = "image-to-video" if "image" in given else "text-to-video"
        body = _body(given, task.id, callback_url)
        reply = yield Ask(method="POST", path=f"{path}/videos/{kind}/{MODEL}", body=body, paid=True)
        return self._submitted(reply, task, callback_url)

    def query(self, account: Account, tasks: Sequence[Task]) -> Flow[Mapping[str, Reading]]:
        path = _path(account)
        askable = [task for task in tasks if reading.askable(task.provider_task_id)]
        found = {task.id: meaning.unaskable(self.name, "its id cannot stand in a list of ids") for task in tasks}
        if path is None or not askable:
            return found
        ids = ",".join(str(task.provider_task_id) for task in askable)
        # One parameter only: Kling wants exactly one of task_ids and external_task_ids.
        reply = yield Ask(method="GET", path=f"{path}/tasks", query={"task_ids": ids})
        answer = self._items(reply)
        for task in askable:
            found[task.id] = answer if isinstance(answer, Reading) else self._of(answer, str(task.provider_task_id))
        return found

    def look_up(self, account: Account, task: Task, clues: Clues) -> Flow[Reading]:
        path = _path(account)
        if path is None:
            return meaning.unaskable(self.name, _NO_PATH.format(account=account.name.upper()))
        # Sent as external_task_id, asked for as external_task_ids, answered as external_id.
        reply = yield Ask(method="GET", path=f"{path}/tasks", query={"external_task_ids": task.id})
        answer = self._items(reply)
        if isinstance(answer, Reading):
            return answer
        jobs = [job for job in map(reading.members, answer) if _id(job) and _is_ours(job, task, alone=len(answer) == 1)]
        if not jobs:
            return Reading(claim=Claim.UNKNOWN if answer else Claim.ABSENT, raw=reading.keep(reply.body))
        # Two jobs are one purchase too many: the older is ours, the others are named so that somebody looks.
        older = sorted(jobs, key=lambda item: (_created(item), _id(item) or ""))
        surplus = tuple(dict.fromkeys(str(_id(item)) for item in older[1:] if _id(item) != _id(older[0])))
        return _job(older[0], reading.dumps(older), also=surplus)

    def read(self, push: Push) -> Reading:
        try:
            job = _bare(parse_reply(push.body))
        except BadReply as error:
            return Reading(claim=Claim.UNKNOWN, detail=str(error), raw=reading.keep(push.body))
        if job is None:
            detail = "the push holds no single task"
            return Reading(claim=Claim.UNKNOWN, detail=detail, raw=reading.keep(push.body))
        return _job(job, push.body)

    def signed(self, push: Push, secret: str, now: int) -> bool:
        # Kling signs the Standard Webhooks way when the account that owns the task has a secret.
        return signature.verify(push.headers, push.body, [secret], now).ok

    def _submitted(self, reply: Reply, task: Task, callback_url: str | None) -> Reading:
        answer = reading.envelope(reply)
        job = reading.members(answer.get("data"))
        code = _code(answer.get("code"))
        # 2xx, or a server error that still names the job: the id is the proof.
        answered = reply.status // 100 in (2, 5) and (code == 0 or answer.get("code") is None)
        secrets = (callback_url,) if callback_url else ()
        if answered and (found := _id(job)):
            return Reading(
                claim=Claim.ACCEPTED,
                provider_task_id=found,
                external_id=reading.text(job.get("external_id"), 128),
                provider_status=reading.text(job.get("status"), 64),
                raw=reading.keep(reply.body, secrets),
            )
        return meaning.not_accepted(
            self.name,
            _meaning(reply, code, again=task.resends > 0),
            reply,
            code=str(code) if code is not None else None,
            message=_message(answer),
            secrets=secrets,
        )

    def _items(self, reply: Reply) -> list[object] | Reading:
        """What a query lists, or why it was not answered. A job that is not there is no error but an empty list."""
        good = 200 <= reply.status < 300
        answer = reading.members(parse_reply(reply.body)) if good else reading.envelope(reply)
        code = _code(answer.get("code"))
        if not good or code != 0:
            why = _meaning(reply, code, again=False)
            return meaning.unanswered(
                self.name, why, reply, code=None if code is None else str(code), message=_message(answer)
            )
        listed = answer.get("data")
        if not isinstance(listed, list):
            raise BadReply("the answer holds no list of tasks")
        return listed

    def _of(self, listed: Sequence[object], id: str) -> Reading:
        """The job with this id: items are matched by id, never by position."""
        jobs = [reading.members(item) for item in listed]
        mine = [job for job in jobs if _id(job) == id]
        if not mine and all(_id(job) for job in jobs):
            return Reading(claim=Claim.ABSENT, detail=f"{self.name} knows no job {id}")
        if not mine:
            return Reading(claim=Claim.UNKNOWN, detail="the list holds a task without an id")
        if any(job != mine[0] for job in mine):
            return Reading(claim=Claim.UNKNOWN, detail="the job is listed twice, and differently")
        return _job(mine[0], reading.dumps(mine[0]))


_NO_PATH = (
    "TASKRELAY_ACCOUNTS__{account}__ENDPOINT_PATH is missing or not a plain id. Copy it from Cloudsway's console."
)


CLOCKS_APART = 300 * 1_000_000  # what two machines' clocks may differ, in microseconds


def _path(account: Account) -> str | None:
    if not reading.askable(account.endpoint_path):
        return None
    return f"/v1/ai/{quote(str(account.endpoint_path), safe='')}/kling"


# What is asked for


def _effective(check: Check) -> dict[str, object]:
    """The input with every default spelled out."""
    image = check.url("image")
    shots = check.shots()
    told = sum(shot["duration"] for shot in shots if isinstance(shot["duration"], int))
    prompt = check.prompt()
    duration = check.seconds(default=told if 3 <= told <= 15 else SECONDS_DEFAULT)
    if shots and told != duration:
        check.refuse("shots", f"needs shots that add up to the duration: they take {told} s of {duration} s.")
    quality, resolution = check.level(RESOLUTIONS, "resolution")
    if not check.flag("sound", True):
        check.refuse("sound", "always makes sound and cannot switch it off. Leave sound out, or send true.")
    ratio = None if "image" in check.given else check.choice("aspect_ratio", ASPECT_RATIOS, "16:9")
    effective = {
        "prompt": prompt,
        "duration": duration,
        "aspect_ratio": ratio,
        "quality": quality,
        "resolution": resolution,
        "sound": True,
        "image": image,
        "shots": shots or None,
        "watermark": check.flag("watermark", False),
    }
    return {name: value for name, value in effective.items() if value is not None}


def _text(given: Mapping[str, object]) -> str:
    """The prompt as sent. Several shots have no field of their own: they are numbered in the text, each with its seconds."""
    lines = [str(given["prompt"])] if "prompt" in given else []
    for number, shot in enumerate(map(reading.members, reading.items(given.get("shots"))), start=1):
        lines.append(f"Shot {number} ({shot['duration']} s): {shot['prompt']}")
    return "\n".join(lines)


def _body(given: Mapping[str, object], task_id: str, callback_url: str | None) -> dict[str, object]:
    text = _text(given)
    settings = {name: given[name] for name in ("resolution", "aspect_ratio", "duration") if name in given}
    # The same external id for every submission of a task: it is what a lost answer is found again by.
    options: dict[str, object] = {
        "external_task_id": task_id,
        "watermark_info": {"enabled": bool(given.get("watermark"))},
    }
    if callback_url is not None:
        options["callback_url"] = callback_url
    if "image" not in given:
        return {"prompt": text, "settings": settings, "options": options}
    contents: list[dict[str, object]] = [{"type": "first_frame", "url": given["image"]}]
    if text:
        contents.append({"type": "prompt", "text": text})
    return {"contents": contents, "settings": settings, "options": options}


# What is answered


def _meaning(reply: Reply, code: int | None, *, again: bool) -> Meaning:
    """What an answer without a job means. `again`: an earlier submission may exist."""
    if code is not None and code in CODES:
        found = CODES[code]
    else:
        found = meaning.BY_STATUS.get(reply.status, AMBIGUOUS)
        if reply.status == 400:
            found = next((told for words, told in GATEWAY_WORDS if words in reply.body), found)
    # Kling answers a second use of an external id with 1201, the code of any bad parameter (seen by public clients as
    # HTTP 400). The same body was well-formed before, so this refusal may be the echo of a job that exists: look it up.
    return AMBIGUOUS if again and found is INVALID else found


def _code(value: object) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,6}", value, re.ASCII):
        return int(value)
    return reading.whole(value)


def _message(answer: Mapping[str, object]) -> str | None:
    error = answer.get("error")
    return reading.first_text(answer.get("message"), error, reading.members(error).get("message"), answer.get("msg"))


def _bare(body: object) -> dict[str, object] | None:
    """The one task of a push. Kling sends it bare; an envelope around it, or a list of one, is taken as well."""
    if isinstance(body, dict) and "data" in body and not _id(body):
        body = body["data"]
    if isinstance(body, list) and len(body) == 1:
        body = body[0]
    return body if isinstance(body, dict) else None


def _id(job: Mapping[str, object], *, spotless: bool = False) -> str | None:
    return reading.identifier(job.get("id"), spotless=spotless) or reading.identifier(job.get("task_id"))


def _is_ours(job: Mapping[str, object], task: Task, *, alone: bool) -> bool:
    """Whether a job in the answer to a question by our id is ours: it says so, or it says nothing and cannot be another's.

    Kling's page has `external_id` in the answer, the documented sample of Cloudsway's query has not. A server that
    ignored the parameter would list anybody's jobs: several, or one made before the task was.
    """
    stated = job.get("external_id")
    if stated not in (None, ""):
        return stated == task.id
    made_at = reading.whole(job.get("create_time"))
    return alone and made_at is not None and made_at * 1000 >= task.created_at - CLOCKS_APART


def _created(job: Mapping[str, object]) -> int:
    created = reading.whole(job.get("create_time"))
    return created if created is not None else 2**63


def _job(job: Mapping[str, object], raw: bytes, also: tuple[str, ...] = ()) -> Reading:
    """One task, in the new form or in the older one (`task_status`, `task_result`)."""
    status = reading.word(job.get("status")) or reading.word(job.get("task_status"))
    claim = STATUSES.get(status or "", Claim.UNKNOWN)
    info = reading.members(job.get("task_info"))
    # The envelope's message says SUCCEED even when the task failed; the reason is the task's own.
    reason = reading.text(job.get("message")) or reading.text(job.get("task_status_msg"))
    charged, unit = _charged(job)
    spotless = reading.spotless(raw)
    return Reading(
        claim=claim,
        provider_task_id=_id(job, spotless=spotless),
        external_id=reading.text(job.get("external_id"), 128, spotless=spotless)
        or reading.text(info.get("external_task_id"), 128),
        provider_status=status,
        outputs=_outputs(job, spotless=spotless) if claim is Claim.SUCCEEDED else (),
        failure=reading.failed("cloudsway", reason) if claim is Claim.FAILED else None,
        charged=charged,
        cost_unit=unit,
        also=also,
        raw=raw[: reading.MAX_RAW] if spotless else reading.keep(raw),
    )


def _outputs(job: Mapping[str, object], *, spotless: bool = False) -> tuple[Output, ...]:
    listed = reading.items(job.get("outputs")) or reading.items(reading.members(job.get("task_result")).get("videos"))
    made = []
    for item in map(reading.members, listed[:16]):
        url = reading.output_url(item.get("url"), spotless=spotless)
        if url is not None and item.get("type", "video") == "video":
            made.append(Output(url=url, duration=reading.plain_amount(item.get("duration")), expires_at=of_link(url)))
    return tuple(made)


def _charged(job: Mapping[str, object]) -> tuple[str | None, str | None]:
    """What was charged and in what: units of a package, or a currency. A mixture has no one sum, and is not told."""
    amounts: list[Decimal] = []
    units: set[str] = set()
    for item in map(reading.members, reading.items(job.get("billing"))[:16]):
        found = reading.amount(item.get("amount"))
        if found is None:
            return None, None
        amounts.append(found)
        cash = reading.word(item.get("charge_type")) == "cash"
        units.add((reading.text(item.get("currency"), 8) or "cash") if cash else "unit")
    if not amounts and (deducted := reading.amount(job.get("final_unit_deduction"))) is not None:
        amounts, units = [deducted], {"unit"}
    return (money.plain(money.total(amounts)), units.pop()) if len(units) == 1 else (None, None)
