"""Reads where a provider put an image. No page shows the body of that answer, so it is looked for where such answers have it."""

from __future__ import annotations

from service.providers import reading
from service.providers.base import BadReply, Reply, UploadRefused, parse_reply

NAMES = (
    "url",
    "file_url",
    "image_url",
    "public_url",
    "fileUrl",
    "imageUrl",
    "publicUrl",
    "file",
    "image",
    "location",
    "data",
)
NESTED = ("data", "result", "file", "image", "upload")
LISTS = ("urls", "files", "images", "data")


def stored_at(provider: str, reply: Reply) -> str:
    """The image's public URL. Raises `UploadRefused`, or `BadReply` where a success names none."""
    answer = reading.envelope(reply)
    if not 200 <= reply.status < 300 or answer.get("success") is False:
        reason = reading.first_text(
            answer.get("error_message"),
            answer.get("error"),
            reading.members(answer.get("error")).get("message"),
            answer.get("message"),
            answer.get("detail"),
        )
        raise UploadRefused(f"HTTP {reply.status}" + (f": {reason}" if reason else ""))
    body = reading.members(parse_reply(reply.body))
    found = _urls(body) or [url for name in NESTED for url in _urls(reading.members(body.get(name)))]
    if not found:
        raise BadReply(f"{provider} took the image and named no URL for it")
    return found[0]


def _urls(answer: dict[str, object]) -> list[str]:
    listed = [item for name in LISTS for item in reading.items(answer.get(name))[:1]]
    stated = [answer.get(name) for name in NAMES]
    for item in listed:
        stated += [item, *(reading.members(item).get(name) for name in NAMES)]
    return [url for value in stated if (url := reading.output_url(value)) is not None]
