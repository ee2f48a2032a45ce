"""One line of JSON for every request a provider got, its body included and its secrets masked, in a file that is only added to."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TextIO

import orjson

from service.sandbox.jobs import Asked

MOST_BODY = 1 << 20
MASK = "***"
# A callback URL carries the client's token in its path or query; whom it calls is no secret.
CALLBACK = re.compile(
    r'("(?:callback_url|callBackUrl|webhook_url)"\s*:\s*"https?:(?:\\?/){2})(?:[^/"\\?#@]*@)?([^/"\\?#]*)(?:\\.|[^"\\])*'
)
# What only ever holds a secret, whichever contract has it.
SECRET = re.compile(
    r'("(?:api_key|apikey|authorization|secret|webhook_secret|token)"\s*:\s*")(?:\\.|[^"\\])*', re.IGNORECASE
)


class RequestLog:
    """An open log. Each line is on its way to the disk when its request has been answered."""

    def __init__(self, path: Path) -> None:
        # Readable by its owner alone: prompts are a customer's.
        path.touch(mode=0o600)
        self._file: TextIO = path.open("a", encoding="utf-8")

    def write(self, asked: Asked, body: bytes, count: int, credential: str) -> None:
        """Add a request; `count` is how long the body was, of which at most `MOST_BODY` bytes are kept."""
        told = {**asdict(asked), "body": shown(asked, body, credential), "body_bytes": count}
        line = orjson.dumps(told, default=str).decode()
        self._file.write((line.replace(credential, MASK) if len(credential) >= 4 else line) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> RequestLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def shown(asked: Asked, body: bytes, credential: str) -> str:
    """The body as text; an uploaded file is only told by its form's first lines."""
    if asked.headers.get("content-type", "").lower().startswith("multipart/"):
        return f"<{asked.headers['content-type'].partition(';')[0]}>"
    return masked(body.decode(errors="replace"), credential)


def masked(text: str, credential: str) -> str:
    """Hide the caller's credential wherever it stands, and the tokens in callback URLs, also in text that is no JSON."""
    hidden = SECRET.sub(rf"\1{MASK}", CALLBACK.sub(rf"\1\2/{MASK}", text))
    return hidden.replace(credential, MASK) if len(credential) >= 4 else hidden
