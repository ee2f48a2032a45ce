"""The timeline in words: one sentence for each kind of entry, for the person who asks why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import orjson

from service.core.events import iso_or_none
from service.core.following import Next
from service.core.times import iso
from storage.records import Task, TimelineEntry, evolve

# `{provider}` and `{account}` of the task; the rest are members of the entry's detail.
SENTENCES: Mapping[str, str] = {
    "created": "Accepted and stored. Account {account} will submit it.",
    "intent": "Submission {submission} to {provider} is on disk; nothing is bought before this.",
    "bound": "{provider} has it as job {provider_task_id}.",
    "refused": "{provider} refused it. Nothing was bought.",
    "failed_over": "{provider} refused it. Nothing was bought. It goes on to {to_provider}/{to_model}, account {to_account}.",
    "charged": "{provider} charges {charged} {unit}; {expected} {expected_unit} was expected.",
    "deferred": "{provider} did not take it for now. Nothing was bought; it is tried again in {again_in_seconds} s.",
    "ambiguous": "{provider} did not answer clearly. It may have taken the job and may charge for it.",
    "running": "{provider} is working on it.",
    "succeeded": "{provider} finished it.",
    "failed": "{provider} failed it.",
    "no_output": "{provider} says it succeeded and gives no output yet.",
    "unknown_vocabulary": "{provider} answered with a word we do not know. That never ends a task.",
    "not_found": "{provider} does not find the job.",
    "query_failed": "{provider} could not be asked.",
    "push_not_confirmed": "A push claimed an end; {provider}, asked, does not show it yet.",
    "expired": "It expired without an end.",
    "output_renewed": "Somebody wanted the output, and {provider} gave a new link to it.",
    "output_missing": "Somebody wanted the output, and {provider}, asked for a new link, shows none. Asked again before that is believed.",
    "output_gone": "{provider} has the output no more: {answers} answers without one.",
    "canceled": "Canceled by {by} before it was bought.",
    "adopted": "{by} named {provider_task_id} as its job. {provider} is asked whether it is there.",
    "released": "{provider_task_id}, named by hand as its job, is not. It stands where it stood before.",
    "resubmit_allowed": "{by} accepted a possible second charge: it is sent once more, and once only.",
    "restored": "An older copy of the database was brought back: it may have been bought since, and is in doubt.",
    "queued_again": "{provider} was looked through and does not have it: nothing was bought. It is queued as before.",
    "erased": "What it was about was erased at its client's wish. What happened and what it cost stays.",
    "abandoned": "Given up by {by}. {provider} may still have it and charge for it.",
    "surplus": "A job too many was found. Its result is not used, and it may be charged as well.",
    "conflict": "Something contradicts what is settled. Nothing was changed.",
}
# Why a purchase that was in doubt is sent once more.
SENT_AGAIN: Mapping[str, str] = {
    "absent": " It is sent a second time: the first one never arrived.",
    "permission": " It is sent once more on a person's word: it may be charged twice.",
    "policy": " It is sent once more by the project's policy: it may be charged twice.",
}
REASONS = ("message", "detail", "why")


def tell_all(entries: Iterable[TimelineEntry], task: Task) -> list[dict[str, object]]:
    """A task's entries, each told of whoever had the task then: it may have gone on from one to another."""
    told: list[dict[str, object]] = []
    for entry in entries:
        detail = orjson.loads(entry.detail)
        if entry.kind == "created" and "account" in detail:
            task = evolve(task, provider=detail["provider"], account=detail["account"])
        told.append(tell(entry, task))
        if entry.kind == "failed_over":
            task = evolve(task, provider=detail["to_provider"], account=detail["to_account"])
    return told


def tell(entry: TimelineEntry, task: Task) -> dict[str, object]:
    """One entry as the API shows it, of a task as it was then."""
    detail = orjson.loads(entry.detail)
    return {
        "at": iso(entry.at),
        "kind": entry.kind,
        "source": entry.source,
        "message": sentence(entry.kind, detail, task),
        "detail": detail,
    }


def sentence(kind: str, detail: Mapping[str, object], task: Task) -> str:
    """What happened, with what the provider said about it."""
    known = _Known({**detail, "provider": task.provider, "account": task.account, "by": _who(detail)})
    if kind == "conflict" and detail.get("conflict") == "surplus":
        kind = "surplus"
    told = SENTENCES.get(kind, kind.replace("_", " ").capitalize() + ".").format_map(known)
    if kind == "intent" and detail.get("resend"):
        told += SENT_AGAIN.get(str(detail["resend"]), "")
    if kind == "created" and detail.get("on_ambiguous") == "resubmit":
        told += " Should its fate become unknown, the project accepts a possible second charge."
    reason = next((str(detail[name]) for name in REASONS if detail.get(name)), None)
    return f"{told} ({reason})" if reason else told


def _who(detail: Mapping[str, object]) -> str:
    """The API key that ordered it, by its name and id."""
    return f'API key "{detail["by"]}" ({detail["key"]})' if "by" in detail and "key" in detail else "somebody"


class _Known(dict[str, object]):
    """Older entries may lack what newer sentences name."""

    def __missing__(self, name: str) -> str:
        return "?"


def next_view(following: Next | None) -> dict[str, object] | None:
    """What happens next, when, and why."""
    if following is None:
        return None
    return {"action": following.action, "at": iso_or_none(following.at), "reason": following.reason}
