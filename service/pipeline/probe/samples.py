"""Samples for the contract suite made of what was really said: without keys, signed links, prompts and whatever names a customer.

Each is read back through its adapter once it is redacted, and what is read then is what the suite expects of it. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from service.core.observation import Claim, Reading
from service.pipeline.probe.facts import Evidence
from service.pipeline.probe.questions import NOBODY
from service.pipeline.probe.walk import walked
from service.providers.base import Clues, Push, Reply
from storage.records import Task, evolve

TASK_ID = "task_0000000000000000000001"
JOB = "911000000000000017"
CALLBACK_URL = "https://relay.example.org/callbacks/cloudsway/c3ViXzAxSjhaNg.sIgNaTuReSiGnAtUrE_-0"
PROMPT = "A paper boat."
MASK = "***"
KEPT_HEADERS = ("content-type", "retry-after")
# Names of members that hold a secret, or say who asked.
PRIVATE = re.compile(
    r"secret|token$|api_?key|authorization|password|user|email|phone|^ip|org|trace|request_id", re.IGNORECASE
)
URL = re.compile(r"https?://[^\s\"'<>\\]+")
EXTENSION = re.compile(r"\.[A-Za-z0-9]{2,4}$")


def samples(seen: Evidence, key: str) -> dict[str, dict[str, object]]:
    """By file name. `key`: the account's credential, which must not be in any of them."""
    redact = Redacting(seen, key)
    found: dict[str, dict[str, object]] = {}
    for name, sample in _all(seen, redact):
        found.setdefault(name, sample)
    return {name: sample for name, sample in found.items() if key not in json.dumps(sample)}


def _all(seen: Evidence, redact: Redacting) -> Iterator[tuple[str, dict[str, object]]]:
    task = evolve(
        seen.task, id=TASK_ID, provider_task_id=None, input=json.dumps(redact.plain(json.loads(seen.task.input)))
    )
    job = evolve(task, provider_task_id=JOB)
    contract, where, answers = seen.account.provider, seen.account.account, seen.answers
    if (bought := seen.bought) is not None:
        reply = redact.reply(bought.reply)
        reading = walked(contract.submit(where, task, CALLBACK_URL), reply)
        yield "submit-ok", _sample("submit", "Said to a purchase", reply, reading, task)
    for exchange in seen.exchanges[: answers.together_at]:
        if exchange.ask.paid:
            continue
        reply = redact.reply(exchange.reply)
        found = (walked(contract.query(where, [job]), reply) or {}).get(TASK_ID)
        if found is not None and found.claim in NAMES:
            yield NAMES[found.claim], _sample("query", "Said to a query", reply, found, job)
    yield from _batch(seen, redact, job)
    if answers.found_at is not None:
        reply = redact.reply(seen.exchanges[-1].reply)
        found = walked(contract.look_up(where, task, _clues()), reply)
        yield "lookup-found", _sample("look_up", "Found again without its id", reply, found, task)
    for number, pushed in enumerate(seen.pushes, start=1):
        reply = redact.reply(Reply(status=200, headers=pushed.headers, body=pushed.body))
        found = contract.read(Push(headers=reply.headers, body=reply.body))
        yield f"push-{number}", _sample("read", f"Push {number} of {len(seen.pushes)}", reply, found, job)


NAMES: Mapping[Claim, str] = {
    Claim.WAITING: "waiting",
    Claim.RUNNING: "running",
    Claim.SUCCEEDED: "succeeded",
    Claim.FAILED: "failed",
}


def _batch(seen: Evidence, redact: Redacting, job: Task) -> Iterator[tuple[str, dict[str, object]]]:
    """One reply about a job that is there and one that is not."""
    contract = seen.account.provider
    if contract.traits.batch == 1 or len(seen.exchanges) <= seen.answers.together_at:
        return
    reply = redact.reply(seen.exchanges[seen.answers.together_at].reply)
    nobody = evolve(job, id=NOBODY, provider_task_id=contract.traits.no_job)
    found = walked(contract.query(seen.account.account, [job, nobody]), reply)
    if found is not None:
        others = {contract.traits.no_job: found[NOBODY].claim.value}
        yield "batch", _sample("query", "Two asked for, one there", reply, found[TASK_ID], job) | {"others": others}


def _clues() -> Clues:
    return Clues(ours=lambda url: url == CALLBACK_URL, since=0, until=1 << 62)


def _sample(flow: str, about: str, reply: Reply, reading: Reading | None, task: Task) -> dict[str, object]:
    said: dict[str, object] = {"status": reply.status}
    if reply.headers:
        said["headers"] = dict(reply.headers)
    try:
        said["body"] = json.loads(reply.body)
    except (ValueError, RecursionError):
        said["text"] = reply.body.decode("utf-8", errors="replace")
    expect: dict[str, object] = {"raises": "BadReply"}
    if reading is not None:
        told = {
            name: getattr(reading, name) for name in ("provider_task_id", "external_id", "provider_status", "charged")
        }
        expect = {"claim": reading.claim.value} | {name: value for name, value in told.items() if value is not None}
        if reading.outputs:
            expect["outputs"] = [output.url for output in reading.outputs]
    told = {
        "about": f"{about}, seen live by a probe",
        "flow": flow,
        "model": task.model,
        "reply": said,
        "expect": expect,
    }
    return told | ({"job": task.provider_task_id} if task.provider_task_id is not None else {})


class Redacting:
    """Puts the samples' own names in the place of what must not be shown, everywhere alike."""

    def __init__(self, seen: Evidence, key: str) -> None:
        prompts = {str(text) for text in _texts(json.loads(seen.task.input)) if len(text) > 3 and " " in text}
        self._exact = dict.fromkeys(prompts, PROMPT) | {seen.task.id: TASK_ID, key: MASK}
        if seen.task.provider_task_id:
            self._exact[seen.task.provider_task_id] = JOB
        if seen.account.account.endpoint_path:
            self._exact[seen.account.account.endpoint_path] = "tenant-1"
        self._ours = f"{seen.account.public_url}/callbacks/"

    def reply(self, reply: Reply) -> Reply:
        headers = {name: value for name, value in reply.headers.items() if name in KEPT_HEADERS}
        headers |= {name: MASK for name in reply.headers if "signature" in name}
        try:
            body = json.dumps(self.plain(json.loads(reply.body))).encode()
        except (ValueError, RecursionError):
            body = self._text(reply.body.decode("utf-8", errors="replace")).encode()
        return Reply(status=reply.status, headers=headers, body=body)

    def plain(self, value: Any, name: str = "") -> Any:
        """A decoded value with the same shape: a number stays a number."""
        match value:
            case dict():
                return {str(key): self.plain(inner, str(key)) for key, inner in value.items()}
            case list():
                return [self.plain(inner, name) for inner in value]
            case bool() | None:
                return value
            case int() if str(value) in self._exact:
                return int(self._exact[str(value)])
            case str() if PRIVATE.search(name) and value not in self._exact:
                return MASK
            case str():
                return self._text(value)
            case _:
                return value

    def _text(self, text: str) -> str:
        text = URL.sub(lambda found: self._url(found[0]), text)
        for given, shown in self._exact.items():
            text = text.replace(given, shown)
        return text

    def _url(self, url: str) -> str:
        """Its host and its kind; the path and what signs it are a customer's."""
        if url.startswith(self._ours):
            return CALLBACK_URL
        try:
            parts = urlsplit(url)
        except ValueError:
            return "https://redacted.example/"
        kind = EXTENSION.search(parts.path)
        return f"{parts.scheme}://{parts.hostname}/redacted{kind[0] if kind else ''}"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)
