"""/v1/tasks in the document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter

from service.api import resolve
from service.api.openapi import created
from service.api.openapi.words import (
    AFTER,
    PAGED,
    Answer,
    Body,
    Operation,
    Operations,
    Schema,
    closed,
    constant,
    free,
    header,
    id_of,
    in_path,
    line,
    listed,
    maybe_ref,
    one_of,
    query,
    ref,
    stated,
    within,
)
from service.core.event_schema import TASK, instant, many, maybe, text, thing, whole, word
from service.core.observation import Claim, Source
from service.core.request import Name
from service.providers.reading import ASKABLE
from storage.records import SubmissionStatus, TaskStatus

TAG: Final = "Tasks"
ID: Final = in_path("id", id_of("task", "The task's id."))
# A task as lists and events have it; what happens next stands only where one is read by itself.
TOLD: Final = {name: schema for name, schema in TASK.items() if name != "truncated"}
NEXT: Final = thing(
    "What happens next by itself.",
    {
        "action": text("Of a task submit, settle, look_up, hold, poll, listen or expire."),
        "at": maybe(instant("When. Null: nobody can say, or only a person can make it happen.")),
        "reason": text("Why, for people."),
    },
)
EVIDENCE: Final = thing(
    "One try to buy it.",
    {
        "submission": {"type": "string", "pattern": "^sub_", "description": "Its id."},
        "number": whole("Counts the submissions of the task."),
        "account": text("The account it was sent with."),
        "status": word("What became of it.", SubmissionStatus),
        "provider_task_id": maybe(text("The job it made.")),
        "detail": maybe(text("What the provider said.")),
        "created_at": instant("When it was made."),
        "deadline_at": instant("After which nothing of it is sent any more."),
        "settled_at": maybe(instant("Since when its fate is known.")),
    },
)
SCHEMAS: Final[Mapping[str, Schema]] = {
    **created.SCHEMAS,
    "TaskListed": thing("A task, without `evidence` and `next`.", TOLD, needless=("erased_at",)),
    "Task": thing(
        "A task.",
        {**TOLD, "evidence": many("Every try to buy it.", ref("Submission")), "next": maybe_ref("Next")},
        needless=("erased_at",),
    ),
    "Submission": EVIDENCE,
    "Next": NEXT,
    "Timeline": thing(
        "Everything that happened to a task, oldest first.",
        {
            "object": constant("timeline"),
            "task": id_of("task", "The task."),
            "status": word("Where it stands.", TaskStatus),
            "data": many(
                "What happened.",
                thing(
                    "One entry.",
                    {
                        "at": instant("When."),
                        "kind": text("What kind of entry."),
                        "source": one_of("Where it came from.", ["api", *Source, "restore"]),
                        "message": text("For people; may be worded anew."),
                        "detail": free("What is known of it."),
                    },
                ),
            ),
            "next": maybe_ref("Next"),
        },
    ),
    "Resolution": thing(
        "What became of a word about many.",
        {
            "object": constant("resolution"),
            "action": one_of("The word.", [Claim.RESUBMIT, Claim.ABANDON]),
            "count": whole("How many it changed."),
            "has_more": {"type": "boolean", "description": "Whether more are to be looked at."},
            "next": maybe(text("What to send as `after` to go on.")),
        },
    ),
}

ACCEPT: Final = constant(True, "That both may be charged, also past the project's budget.")
_NAME: Final[dict[str, Any]] = TypeAdapter(Name).json_schema()
WHICH: Final = {
    **closed(
        "Which ones: at least one member.",
        {
            "status": constant(TaskStatus.UNCONFIRMED.value, "All of the project's."),
            "provider": {**_NAME, "description": "Bought under this contract."},
            "account": {**_NAME, "description": "Bought with this account."},
            "created_after": stated("Created at or after this."),
            "created_before": stated("Created before this."),
        },
    ),
    "minProperties": 1,
}
ADOPT: Final = closed(
    "You found the job at the provider.",
    {
        "action": constant("adopt", "It becomes the task's job."),
        "provider_task_id": {"type": "string", "pattern": f"^{ASKABLE.pattern}$", "description": "The job's id there."},
    },
    needed=("action", "provider_task_id"),
)
RESUBMIT: Final = closed(
    "Send it once more.",
    {"action": constant("resubmit", "Once, and only once."), "possible_double_charge": ACCEPT},
    needed=("action", "possible_double_charge"),
)
ABANDON: Final = closed(
    "Give it up.", {"action": constant("abandon", "It fails, and may turn up late.")}, needed=("action",)
)
MANY_WORDS: Final = {
    "oneOf": [
        {**one, "required": [*one["required"], "filter"], "properties": {**one["properties"], "filter": WHICH}}
        for one in (RESUBMIT, ABANDON)
    ]
}
FILTERS: Final = (
    query("status", word("Where it stands.", TaskStatus)),
    query("provider", line("Bought under this contract.")),
    query("account", line("Bought with this account.")),
    query("reference", line("Your own id.")),
    query("created_after", stated("Created at or after this.")),
    query("created_before", stated("Created before this.")),
)
PREFER: Final = header(
    "Prefer", "`wait=N`: the same as `wait` (RFC 7240).", {"type": "string", "examples": ["wait=30"]}
)
WAIT: Final = query("wait", within("Hold the line up to so many seconds, until there is news.", 0, 60, 0))
KNOWN: Final = header(
    "If-None-Match",
    "An `ETag` you have: 304 when the answer would be the same.",
    {"type": "string", "examples": ['"3e2f6d9c"']},
)
SHOWN: Final = Answer(about="The task.", schema=ref("Task"))

OPERATIONS: Final[Operations] = {
    ("POST", "/v1/tasks"): created.CREATE,
    ("GET", "/v1/tasks"): Operation(
        id="listTasks",
        tag=TAG,
        summary="List tasks",
        about="Newest first, without `evidence` and `next`. By your own metadata: one parameter `metadata.<name>` for each name.",
        parameters=(*PAGED, *FILTERS),
        answers={200: Answer(about="One page.", schema=listed(ref("TaskListed")))},
    ),
    ("GET", "/v1/tasks/{id}"): Operation(
        id="getTask",
        tag=TAG,
        summary="Read a task, or wait for a change",
        about="`wait` holds the line until the task ends; with `If-None-Match` until it says anything else.",
        parameters=(ID, WAIT, KNOWN),
        answers={
            200: Answer(about="The task.", schema=ref("Task"), headers=("ETag",), maybe=("Retry-After",)),
            304: Answer(about="It says what you know.", headers=("ETag",), maybe=("Retry-After",)),
        },
        codes=("not_found",),
    ),
    ("GET", "/v1/tasks/{id}/timeline"): Operation(
        id="getTimeline",
        tag=TAG,
        summary="What happened, and what happens next",
        parameters=(ID,),
        answers={200: Answer(about="All of it.", schema=ref("Timeline"))},
        codes=("not_found",),
    ),
    ("POST", "/v1/tasks/{id}/cancel"): Operation(
        id="cancelTask",
        tag=TAG,
        summary="Take back what is not bought yet",
        about="Only a `queued` task can be canceled.",
        parameters=(ID,),
        answers={200: Answer(about="The task, `canceled` and never bought.", schema=ref("Task"))},
        codes=("not_found", "cannot_cancel"),
    ),
    ("POST", "/v1/tasks/{id}/reconcile"): Operation(
        id="reconcileTask",
        tag=TAG,
        summary="Ask its provider now",
        about="Over the account's lane and within its rate, as after a push. What comes changes the task, whoever waits for it.",
        parameters=(ID, WAIT, PREFER),
        answers={
            200: Answer(
                about="The task after an answer, recorded while the line was held.",
                schema=ref("Task"),
                maybe=("Retry-After", "Preference-Applied"),
            ),
            202: Answer(about="The task. It is being asked after.", schema=ref("Task"), headers=("Retry-After",)),
        },
        codes=("not_found", "cannot_reconcile"),
    ),
    ("POST", "/v1/tasks/{id}/resolve"): Operation(
        id="resolveTask",
        tag=TAG,
        summary="Settle a purchase whose fate is unknown",
        parameters=(ID,),
        body=Body(
            schema={"oneOf": [ADOPT, RESUBMIT, ABANDON]},
            examples={
                "adopt": {"action": "adopt", "provider_task_id": "901795214119703839"},
                "resubmit": {"action": "resubmit", "possible_double_charge": True},
                "abandon": {"action": "abandon"},
            },
        ),
        answers={200: SHOWN},
        codes=("not_found", "cannot_resolve", "job_taken"),
    ),
    ("POST", "/v1/tasks/resolve"): Operation(
        id="resolveTasks",
        tag=TAG,
        summary="Settle many",
        about=f"The same word about all that a filter finds, {resolve.MOST} of them in a request at most, oldest first.",
        parameters=(AFTER,),
        body=Body(
            schema=MANY_WORDS,
            examples={"abandon": {"action": "abandon", "filter": {"provider": "ulazai", "status": "unconfirmed"}}},
        ),
        answers={200: Answer(about="How many it changed.", schema=ref("Resolution"))},
    ),
    ("DELETE", "/v1/tasks/{id}"): Operation(
        id="eraseTask",
        tag=TAG,
        summary="Erase what an ended task was about",
        about="Its ledger stays. 204, and 204 again.",
        parameters=(ID,),
        answers={204: Answer(about="It is erased.")},
        codes=("not_found", "cannot_erase"),
    ),
}
