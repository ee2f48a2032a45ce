"""What `dev` says: where everything is, a first request that can be pasted, what to try next, and a line for every event."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.cli.task_lines import instant

RECEIVER = "http://127.0.0.1:3000/hooks/done"
WIDTH = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Up:
    """What is running. `command`: how this taskrelay is called from here; `reference`: one that is free."""

    url: str
    sandbox: str
    key: str
    secret: str
    folder: str
    command: str
    reference: str
    job_seconds: float
    pids: Mapping[str, int]

    @property
    def facts(self) -> dict[str, Any]:
        """The same for a program."""
        return {
            "ready": "dev",
            "url": self.url,
            "sandbox": self.sandbox,
            "key": self.key,
            "webhook_secret": self.secret,
            "folder": self.folder,
            "reference": self.reference,
            "pids": dict(self.pids),
        }


def opening() -> list[str]:
    return ["taskrelay dev: everything on this machine, no account, nothing is paid", ""]


def page(up: Up) -> list[str]:
    """All of it, once it is up."""
    return [
        f"  ✓ {'sandbox':{WIDTH}} {up.sandbox}   plays all five contracts; a job takes {up.job_seconds:g} s",
        f"  ✓ {'taskrelay':{WIDTH}} {up.url}   database, key and logs in {up.folder}, kept (--fresh empties it)",
        "",
        f"  API key         {up.key}",
        f"  webhook secret  {up.secret}   signs what goes to a task's own webhook_url",
        "",
        "  Buy a video and wait for its end:",
        "",
        *first_request(up),
        "",
        "  Then, in another terminal:",
        "",
        f"export TASKRELAY_URL={up.url} TASKRELAY_KEY={up.key}",
        *_next(up),
        "",
        "  Ctrl-C ends it. What happens to your tasks:",
        "",
    ]


def first_request(up: Up) -> list[str]:
    """A curl. Its lines begin at the margin, so that a paste is what was printed."""
    body = {
        "provider": "cloudsway",
        "model": "kling-3.0-turbo",
        "reference": up.reference,
        "input": {"prompt": "A paper boat drifts down a gutter", "duration": 5, "aspect_ratio": "16:9"},
    }
    return [
        f"curl -s {up.url}/v1/tasks -H 'Authorization: Bearer {up.key}' \\",
        "  -H 'Content-Type: application/json' -H 'Prefer: wait=30' \\",
        f"  -d {shlex.quote(json.dumps(body))}",
    ]


def _next(up: Up) -> list[str]:
    rows = (
        (f"tasks why {up.reference}", "what happened, what comes next, and why"),
        (f"listen --forward-to {RECEIVER}", "events to a receiver of yours"),
        (f"endpoints create {RECEIVER}", "or subscribe it, as in production"),
        ("audit", "is anything missing?"),
    )
    said = [(f"{up.command} {words}", why) for words, why in rows]
    width = max(len(words) for words, _ in said)
    return [f"{words:{width}}  # {why}" for words, why in said]


def told(event: Mapping[str, Any]) -> str:
    """An event of the feed in a line."""
    from datetime import UTC, datetime

    task = event["data"] if isinstance(event.get("data"), dict) else {}
    at = datetime.fromtimestamp(instant(event["timestamp"]), UTC).astimezone()
    words = [f"{at:%H:%M:%S}  {event['type']:17}", str(task.get("id") or task.get("name") or "")]
    if "provider" in task and "model" in task:
        words.append(f"{task['provider']}/{task['model']}")
    words += [str(task[name]) for name in ("reference", "phase") if task.get(name)]
    error = task.get("error")
    if isinstance(error, dict):
        words.append(f"{error.get('code')}: {error.get('message')}")
    elif task.get("output_url"):
        words.append(str(task["output_url"]))
    return "  ".join(words).rstrip()


def logged(name: str, line: bytes, *, verbose: bool) -> str | None:
    """A line that a process said, readable; None for one that only matters when something is looked for."""
    try:
        said = json.loads(line)
    except ValueError:
        said = None
    if not isinstance(said, dict) or "text" not in said:
        text = line.decode(errors="replace").rstrip()
        return f"{name:{WIDTH}} {text}" if verbose and text else None
    if not verbose and said.get("level") not in ("error", "critical"):
        return None
    more = "  ".join(f"{key}={said[key]}" for key in said if key not in ("at", "level", "logger", "text"))
    return f"{name:{WIDTH}} {said.get('level', '')}: {said['text']}  {more}".rstrip()
