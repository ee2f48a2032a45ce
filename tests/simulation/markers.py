"""What a thousand seeds must have seen at least once: a fault that never happens proves nothing."""

from __future__ import annotations

MARKERS = {
    "late adoption": "a lost purchase was found by a look-up or a push and bound",
    "1201 adoption": "a second submission was refused as a duplicate, and the first one's job was adopted",
    "resend after settle": "three empty look-ups and the settle window later, sent once more",
    "resend by word": "a person or a project accepted a possible second charge, and it was sent once more",
    "guard refusal": "a purchase past its deadline was kept off the wire",
    "callback before reply": "a push arrived before the answer to the submission was recorded",
    "conflict: verdict": "a provider contradicted a hard end, which stayed (C2)",
    "conflict: binding": "a job that belongs to another task was named (C15)",
    "duplicate after kill": "a subscriber got an event twice after a kill or a take-over",
    "breaker half-open": "a probe went out to a party whose breaker was open",
    "orphan callback": "a push for a submission that a restored database does not know",
    "late evidence": "a worker that had lost its lane still bound the job it had bought (C14)",
    "late verdict": "a task expired, and a verdict came after it (T12)",
    "no output": "a success word without an output was given up on",
    "cancel": "a queued task was taken back",
    "fail-over": "a task went on to another account",
    "Retry-After obeyed": "a subscriber asked for time and got it",
    "long downtime": "an hour or more down, tasks open, and nothing healthy expired",
    "take-over": "a replica took a lane whose owner was paused or dead",
    "soft then hard end": "one soft end, then one hard end",
    "two clocks": "the wall clock jumped",
    "store unavailable": "a write failed before its commit",
    "commit unheard": "a write was committed and its caller never heard",
}
