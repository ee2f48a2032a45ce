"""How UlazAI reads a Kling 3.0 create and an upload: every field typed, nothing converted, the price worked out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import HTTP

from service.sandbox.line import is_link, strangers

MODES = ("text_to_video", "image_to_video")
ASPECTS = ("16:9", "9:16", "1:1")
RATES = {("std", False): 20, ("std", True): 30, ("pro", False): 27, ("pro", True): 40}  # credits a second
DISCOUNT = 10
MOST_PROMPT = 2_500
REQUIRED = ("prompt", "generationMode", "durationSeconds", "qualityMode")

Check = Callable[[object], bool]
FIELDS: Mapping[str, tuple[Check, str]] = {
    "prompt": (
        lambda value: isinstance(value, str) and len(value.strip()) >= 1 and len(value) <= MOST_PROMPT,
        f"text of 1 to {MOST_PROMPT} characters",
    ),
    "generationMode": (lambda value: value in MODES, f"one of {', '.join(MODES)}"),
    "durationSeconds": (lambda value: type(value) is int and 3 <= value <= 15, "a whole number from 3 to 15"),
    "qualityMode": (lambda value: value in ("std", "pro"), "std or pro"),
    "sound": (lambda value: isinstance(value, bool), "a boolean"),
    "multiShots": (lambda value: isinstance(value, bool), "a boolean"),
    "aspectRatio": (lambda value: value in ASPECTS, f"one of {', '.join(ASPECTS)}"),
    "imageUrls": (lambda value: isinstance(value, list) and all(map(is_link, value)), "a list of http or https URLs"),
    "startFrameUrl": (is_link, "an http or https URL"),
    "endFrameUrl": (is_link, "an http or https URL"),
    "prompt_directory_optin": (lambda value: isinstance(value, bool), "a boolean"),
}


class Refused(ValueError):
    """A request that is turned down; nothing is made."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A create as understood. `effective`: with defaults. `ignored`: fields the contract does not have, or not in this mode."""

    prompt: str
    effective: Mapping[str, object]
    credits: int
    ignored: tuple[str, ...]


def read_order(body: Mapping[str, object]) -> Order:
    """Check every field, then the rules between them."""
    for name in REQUIRED:
        if name not in body:
            raise Refused(f"{name} is required")
    for name, (holds, wanted) in FIELDS.items():
        if name in body and not holds(body[name]):
            raise Refused(f"{name} must be {wanted}")
    frames = [name for name in ("startFrameUrl", "endFrameUrl") if name in body]
    if frames and "aspectRatio" in body:
        raise Refused(f"aspectRatio is not allowed together with {frames[0]}")
    pictured = body["generationMode"] == "image_to_video"
    if pictured and not frames and not body.get("imageUrls"):
        raise Refused("image_to_video needs imageUrls or a frame URL")
    ignored = strangers(body, FIELDS)
    if not pictured:
        ignored += [f"/{name}" for name in ("imageUrls", *frames) if name in body]
    # Not stated for this contract; on the neighbouring one a missing opt-in publishes, so that is what omission does here.
    effective: dict[str, object] = {"sound": False, "multiShots": False, "prompt_directory_optin": True}
    effective |= {name: value for name, value in body.items() if f"/{name}" not in ignored}
    return Order(prompt=str(body["prompt"]), effective=effective, credits=_cost(effective), ignored=tuple(ignored))


def _cost(effective: Mapping[str, object]) -> int:
    rate = RATES[str(effective["qualityMode"]), bool(effective["sound"])]
    return rate * int(str(effective["durationSeconds"])) - (DISCOUNT if effective["prompt_directory_optin"] else 0)


def read_picture(content_type: str, body: bytes, most: int) -> str:
    """The kind of picture in a multipart body's `file`, by its first bytes: what its name or header claims is not asked."""
    if not content_type.lower().startswith("multipart/form-data"):
        raise Refused("send multipart/form-data with a field named file")
    form = message_from_bytes(b"Content-Type: " + content_type.encode("latin-1") + b"\r\n\r\n" + body, policy=HTTP)
    for part in form.iter_parts():
        if part.get_param("name", header="content-disposition") == "file":
            picture = part.get_payload(decode=True)
            return _kind(picture if isinstance(picture, bytes) else b"", most)
    raise Refused("the form has no field named file")


def _kind(picture: bytes, most: int) -> str:
    if len(picture) > most:
        raise Refused(f"the picture is over {most >> 20} MB")
    if picture.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if picture.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if picture[:4] == b"RIFF" and picture[8:12] == b"WEBP":
        return "webp"
    raise Refused("the picture is not JPEG, PNG or WebP")
