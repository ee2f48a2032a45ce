"""How UlazAI reads a Kling 3.0 create: every field typed, nothing converted, the price worked out."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from service.sandbox.order import (
    Fields,
    Order,
    Refused,
    check_fields,
    is_flag,
    is_link,
    is_one_of,
    is_text,
    is_whole,
    strangers,
)

MODES = ("text_to_video", "image_to_video")
ASPECTS = ("16:9", "9:16", "1:1")
RATES = {("std", False): 20, ("std", True): 30, ("pro", False): 27, ("pro", True): 40}  # credits a second
DISCOUNT = 10
MOST_PROMPT = 2_500
REQUIRED = ("prompt", "generationMode", "durationSeconds", "qualityMode")


FIELDS: Fields = {
    "prompt": (is_text(MOST_PROMPT), f"text of 1 to {MOST_PROMPT} characters"),
    "generationMode": (is_one_of(*MODES), f"one of {', '.join(MODES)}"),
    "durationSeconds": (is_whole(3, 15), "a whole number from 3 to 15"),
    "qualityMode": (is_one_of("std", "pro"), "std or pro"),
    "sound": (is_flag, "a boolean"),
    "multiShots": (is_flag, "a boolean"),
    "aspectRatio": (is_one_of(*ASPECTS), f"one of {', '.join(ASPECTS)}"),
    "imageUrls": (lambda value: isinstance(value, list) and all(map(is_link, value)), "a list of http or https URLs"),
    "startFrameUrl": (is_link, "an http or https URL"),
    "endFrameUrl": (is_link, "an http or https URL"),
    "prompt_directory_optin": (is_flag, "a boolean"),
}


def read_order(body: Mapping[str, object]) -> Order:
    """Check every field, then the rules between them."""
    check_fields(body, FIELDS, REQUIRED)
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
    cost = _cost(effective)
    effective["cost"] = cost
    return Order(prompt=str(body["prompt"]), effective=effective, credits=Decimal(cost), ignored=tuple(ignored))


def _cost(effective: Mapping[str, object]) -> int:
    rate = RATES[str(effective["qualityMode"]), bool(effective["sound"])]
    seconds = int(str(effective["durationSeconds"]))
    return rate * seconds - (DISCOUNT if effective["prompt_directory_optin"] else 0)
