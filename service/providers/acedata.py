"""Kling through AceData. One push at the very end, unsigned, and no id of ours: a lost job is known by its callback URL.

Called without a callback URL or `async` it would answer only when the video is there, so one of them is always sent. Its
task records have no status field and echo the whole request, callback URL included. A job that an answer did not name
can be listed again by time; a purchase is never repeated, because nothing here tells two submissions apart for certain.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from service.core.observation import Claim, Reading
from service.core.request import TaskRequest
from service.core.times import SECOND
from service.providers import acedata_models, link_life, meaning, reading
from service.providers.acedata_table import MODELS
from service.providers.base import (
    Account,
    Ask,
    BadReply,
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
from service.providers.checks import Check
from service.providers.meaning import AMBIGUOUS, BUSY, CONTENT, CREDIT, FORBIDDEN, INVALID, KEY, NOT_THERE, Meaning
from service.providers.uploading import stored_at
from storage.records import FailureCode, Output, Task

TASKS = "/kling/tasks"
BATCH = 50
PAGES = 4  # of a look-up's listing

# Their libraries, agents and web client disagree on the words; these are the union.
SUCCESS_WORDS = frozenset({"succeed", "succeeded", "success", "completed", "complete", "finished"})
FAILURE_WORDS = frozenset({"failed", "failure", "error", "cancelled", "canceled", "rejected"})

# 403 is three things: an empty balance, a disabled account and a moderated prompt. The code tells which.
CODES: Mapping[str, Meaning] = {
    "used_up": CREDIT,
    **dict.fromkeys(("disabled", "no_token", "token_mismatched", "invalid_token", "token_expired"), KEY),
    "forbidden": CONTENT,
    "bad_request": INVALID,
    **dict.fromkeys(("no_api", "api_not_implemented"), NOT_THERE),
    **dict.fromkeys(("too_many_requests", "rate_limited"), BUSY),
}
ANSWERS = {**meaning.BY_STATUS, 403: FORBIDDEN}

Fields = Mapping[str, object]


class AceData:
    """The contract. `everyone`: all contracts, so that a refusal can name those that take what this one lacks."""

    name = "acedata"
    base_url = "https://api.acedata.cloud"
    # Their guide says 1 to 2 minutes, two recorded tasks took 317 s. "Keep polling under one a second."
    traits = Traits(
        callbacks=True, batch=BATCH, look_up=True, look_up_needs_callback=True, expected_seconds=180, rate=1.0
    )

    def __init__(self, everyone: Everyone = dict) -> None:
        self.models: Mapping[str, Model] = MODELS
        self._everyone = everyone

    def prepare(self, request: TaskRequest) -> Prepared:
        check = Check(self.name, self.models, request, self._everyone)
        effective = acedata_models.effective(check)
        check.settle()
        # Prices stand in their console only.
        estimate = Estimate(unit="credit", amount=None)
        native = acedata_models.options(request.provider_options)
        return Prepared(input=effective, provider_options=native, estimate=estimate)

    def submit(self, account: Account, task: Task, callback_url: str | None) -> Flow[Reading]:
        given, native = reading.members(json.loads(task.input)), reading.members(json.loads(task.provider_options))
        body = acedata_models.body(task.model, given, native, callback_url)
        reply = yield Ask(method="POST", path="/kling/videos", body=body, paid=True)
        return self._submitted(reply, callback_url)

    def query(self, account: Account, tasks: Sequence[Task]) -> Flow[Mapping[str, Reading]]:
        askable = {task.id: str(task.provider_task_id) for task in tasks if reading.askable(task.provider_task_id)}
        found = {task.id: meaning.unaskable(self.name, "its id is not one of theirs") for task in tasks}
        if not askable:
            return found
        reply = yield _retrieve(list(askable.values()))
        answer = self._records(reply)
        for task_id, id in askable.items():
            found[task_id] = answer if isinstance(answer, Reading) else self._of(answer, id)
        return found

    def look_up(self, account: Account, task: Task, clues: Clues) -> Flow[Reading]:
        named = [id for id in clues.hinted_ids if reading.askable(id)][:BATCH]
        if named:
            reply = yield _retrieve(named)
            answer = self._records(reply)
            if isinstance(answer, Reading):
                return answer
            if mine := _ours(answer, clues):
                return _found(mine, task)
        listed: list[Fields] = []
        whole = False
        for page in range(PAGES):
            reply = yield _listing(clues, page)
            answer = self._records(reply)
            if isinstance(answer, Reading):
                return answer
            listed += answer
            whole = len(answer) < BATCH
            if whole:
                break
        if mine := _ours(listed, clues):
            return _found(mine, task)
        # A list that goes on, or holds a task without its request, may hold ours.
        whole = whole and all(_id(record) and reading.members(record.get("request")) for record in listed)
        detail = f"{len(listed)} tasks of that time, none of them ours"
        return Reading(claim=Claim.ABSENT if whole else Claim.UNKNOWN, detail=detail)

    def upload(self, account: Account, file: File) -> Flow[str]:
        """Their pages: a form with `file`, at most 25 MB; the public URL lives seven days."""
        reply = yield Ask(method="POST", path="/files/upload", file=file)
        return stored_at(self.name, reply)

    def read(self, push: Push) -> Reading:
        try:
            body = reading.members(parse_reply(push.body))
        except BadReply as error:
            return Reading(claim=Claim.UNKNOWN, detail=str(error), raw=reading.keep(push.body))
        if not _id(body):
            detail = "the push holds no single task"
            return Reading(claim=Claim.UNKNOWN, detail=detail, raw=reading.keep(push.body))
        record = body if "response" in body else {"response": body, "finished_at": 0}
        return replace(_job(record), provider_task_id=_id(body), raw=reading.keep(push.body))

    def signed(self, push: Push, secret: str, now: int) -> bool:
        # An earlier page told of a signature header; the later one, checked against their gateway, says there is none.
        return False

    def _submitted(self, reply: Reply, callback_url: str | None) -> Reading:
        answer = reading.envelope(reply)
        secrets = (callback_url,) if callback_url else ()
        id = _id(answer) or _id(reading.members(answer.get("data")))
        # A server error that names a task has made one.
        if id is not None and reading.askable(id) and reply.status // 100 in (2, 5):
            return Reading(
                claim=Claim.ACCEPTED,
                provider_task_id=id,
                provider_status=reading.word(answer.get("state")),
                detail=_trace(answer),
                raw=reading.keep(reply.body, secrets),
            )
        code, message = _error(answer)
        refusal = meaning.not_accepted(
            self.name, _meaning(reply, code), reply, code=code, message=message, secrets=secrets
        )
        return _traced(refusal, answer)

    def _records(self, reply: Reply) -> list[Fields] | Reading:
        """The records an answer holds, or why it was not answered. What is unknown to them is no record."""
        good = 200 <= reply.status < 300
        answer = _object(reply) if good else reading.envelope(reply)
        code, message = _error(answer)
        if reply.status == 404 and code != "no_api":
            return []
        if not good or ("error" in answer and not _id(answer)):
            why = ANSWERS.get(reply.status, AMBIGUOUS) if code is None else _meaning(reply, code)
            return _traced(meaning.unanswered(self.name, why, reply, code=code, message=message), answer)
        if "items" in answer:
            if not isinstance(answer["items"], list):
                raise BadReply("the answer holds no list of tasks")
            return [reading.members(item) for item in answer["items"]]
        return [answer] if answer else []

    def _of(self, records: Sequence[Fields], id: str) -> Reading:
        """The task with this id: matched by id, never by position."""
        mine = [record for record in records if _id(record) == id]
        if not mine and all(map(_id, records)):
            return Reading(claim=Claim.ABSENT, detail=f"{self.name} knows no task {id}")
        if not mine:
            return Reading(claim=Claim.UNKNOWN, detail="the answer holds a task without an id")
        if any(record != mine[0] for record in mine):
            return Reading(claim=Claim.UNKNOWN, detail="the task is listed twice, and differently")
        return _job(mine[0])


def _object(reply: Reply) -> Fields:
    answer = parse_reply(reply.body)
    if not isinstance(answer, dict):
        raise BadReply("the answer is no object")
    return answer


def _retrieve(ids: Sequence[str]) -> Ask:
    """Their pages render a default for `action` that does not exist: always said. The key is `id`, not task_id."""
    if len(ids) == 1:
        return Ask(method="POST", path=TASKS, body={"action": "retrieve", "id": ids[0]})
    return Ask(method="POST", path=TASKS, body={"action": "retrieve_batch", "ids": list(ids)})


def _listing(clues: Clues, page: int) -> Ask:
    """A page of the tasks made in a span of time, as their own web client asks for them: unix seconds."""
    body = {
        "action": "retrieve_batch",
        "created_at_min": clues.since // SECOND,
        "created_at_max": -(-clues.until // SECOND),
        "limit": BATCH,
        "offset": page * BATCH,
    }
    return Ask(method="POST", path=TASKS, body=body)


def _ours(records: Sequence[Fields], clues: Clues) -> list[Fields]:
    """Records whose request echoes a callback URL of ours, each once, the oldest first."""
    found: dict[str, Fields] = {}
    for record in records:
        url = reading.members(record.get("request")).get("callback_url")
        if isinstance(url, str) and (id := _id(record)) is not None and clues.ours(url):
            found.setdefault(id, record)
    return sorted(found.values(), key=lambda record: (_second(record, "created_at"), _id(record) or ""))


def _found(mine: Sequence[Fields], task: Task) -> Reading:
    """Two jobs are one purchase too many: the older is ours, the others are named so that somebody looks."""
    surplus = tuple(str(_id(record)) for record in mine[1:])
    found = _job(mine[0])
    # Even if its record says nothing we know, the job is there and is ours.
    claim = Claim.ACCEPTED if found.claim is Claim.UNKNOWN else found.claim
    return replace(found, claim=claim, external_id=task.id, also=surplus)


# What is answered


def _id(record: Fields) -> str | None:
    inner = reading.members(record.get("response"))
    return (
        reading.identifier(record.get("id"))
        or reading.identifier(record.get("task_id"))
        or reading.identifier(inner.get("task_id"))
    )


def _second(record: Fields, name: str) -> float:
    """A time as they write it, in seconds with a fraction."""
    value = reading.amount(record.get(name))
    return float(value) if value is not None else float("inf")


def _error(answer: Fields) -> tuple[str | None, str | None]:
    """Code and words of an error, of which there are four shapes."""
    error = answer.get("error")
    inner = reading.members(error)
    code = reading.word(inner.get("code")) or reading.word(answer.get("code"))
    message = reading.first_text(inner.get("message"), error, answer.get("detail"), answer.get("message"))
    return code, message


def _meaning(reply: Reply, code: str | None) -> Meaning:
    if code is not None and code in CODES and reply.status in ANSWERS:
        return CODES[code]
    return ANSWERS.get(reply.status, AMBIGUOUS)


def _trace(answer: Fields) -> str | None:
    """What their support asks for."""
    trace = reading.text(answer.get("trace_id"), 64)
    return f"trace {trace}" if trace is not None else None


def _traced(seen: Reading, answer: Fields) -> Reading:
    trace = _trace(answer)
    return seen if trace is None else replace(seen, detail=f"{seen.detail} ({trace})")


def _job(record: Fields) -> Reading:
    """One task record. It has no status: what its `response` says, and which times are there, is the status."""
    response = reading.members(record.get("response"))
    url = reading.output_url(response.get("video_url"))
    claim = _claim(response, url, started=record.get("started_at"), finished=record.get("finished_at"))
    output = _output(url, response, ended=_second(record, "finished_at")) if url is not None else None
    failed = claim is Claim.FAILED
    code, message = _error(response)
    failure = reading.failed("acedata", reading.text(message), code) if failed else None
    if failure is not None and code == "forbidden":
        failure = replace(failure, code=FailureCode.CONTENT_REJECTED, retryable=False)
    return Reading(
        claim=claim,
        provider_task_id=_id(record),
        provider_status=_word(response),
        outputs=(output,) if output is not None and claim is Claim.SUCCEEDED else (),
        failure=failure,
        refunded=failed,  # "failed, timed out and moderated work is not billed"
        detail=_trace(record) or _trace(response),
        raw=reading.keep(reading.dumps(_without_callback(record))),
    )


def _output(url: str, response: Fields, *, ended: float) -> Output:
    """A push does not say when the job ended; a query does."""
    expires_at = link_life.of_link(url) or link_life.after(ended, link_life.ACEDATA_LIFE)
    return Output(url=url, duration=reading.plain_amount(response.get("duration")), expires_at=expires_at)


def _claim(response: Fields, url: str | None, *, started: object, finished: object) -> Claim:
    """An error wins over a contradicting success; `success: false` alone may pass; what contradicts otherwise is unknown."""
    word, success = _word(response), response.get("success")
    if reading.word(reading.members(response.get("error")).get("code")) or word in FAILURE_WORDS:
        return Claim.FAILED
    if success is False and finished is not None:
        return Claim.UNKNOWN if word in SUCCESS_WORDS else Claim.FAILED
    if word in SUCCESS_WORDS and success is not False:
        return Claim.SUCCEEDED
    if success is True and (url is not None or (word is None and finished is not None)):
        return Claim.SUCCEEDED
    if word is not None or (finished is not None):
        return Claim.UNKNOWN
    return Claim.RUNNING if started is not None else Claim.WAITING


def _word(response: Fields) -> str | None:
    return reading.word(response.get("state")) or reading.word(response.get("status"))


def _without_callback(record: Fields) -> Fields:
    """The record as it may be kept: the echoed callback URL holds our token."""
    request = reading.members(record.get("request"))
    return {**record, "request": {**request, "callback_url": "***"}} if "callback_url" in request else record
