"""How UlazAI reads a Kling 2.6 create: seconds as text, one picture at most, a table of prices."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from service.sandbox.order import Fields, Order, Refused, check_fields, is_flag, is_link, is_one_of, is_text, strangers

MODES = ("text_to_video", "image_to_video")
ASPECTS = ("16:9", "9:16", "1:1")
PRICES = {("5", False): 55, ("10", False): 110, ("5", True): 110, ("10", True): 220}  # credits
DISCOUNT = 10
MOST_PROMPT = 2_000
REQUIRED = ("prompt", "generationMode")
# The page states the defaults, and of the opt-in: "Standaard: true". Left out, it publishes.
DEFAULTS: Mapping[str, object] = {"duration": "5", "sound": False, "prompt_directory_optin": True}

FIELDS: Fields = {
    "prompt": (is_text(MOST_PROMPT), f"text of 1 to {MOST_PROMPT} characters"),
    "generationMode": (is_one_of(*MODES), f"one of {', '.join(MODES)}"),
    "duration": (is_one_of("5", "10"), 'the text "5" or "10"'),
    "aspectRatio": (is_one_of(*ASPECTS), f"one of {', '.join(ASPECTS)}"),
    "sound": (is_flag, "a boolean"),
    "imageUrls": (lambda value: isinstance(value, list) and all(map(is_link, value)), "a list of http or https URLs"),
    "prompt_directory_optin": (is_flag, "a boolean"),
}


def read_order(body: Mapping[str, object]) -> Order:
    """Check every field, then the rules between them."""
    check_fields(body, FIELDS, REQUIRED)
    ignored = strangers(body, FIELDS)
    effective = dict(DEFAULTS)
    if body["generationMode"] == "image_to_video":
        pictures = body.get("imageUrls", [])
        if not isinstance(pictures, list) or len(pictures) != 1:
            raise Refused("image_to_video needs imageUrls with exactly 1 URL")
        # The page lists the aspect ratio "for text_to_video"; what the picture mode makes of one it does not say.
        ignored += ["/aspectRatio"] if "aspectRatio" in body else []
    else:
        effective["aspectRatio"] = "16:9"
        ignored += ["/imageUrls"] if "imageUrls" in body else []
    effective |= {name: value for name, value in body.items() if f"/{name}" not in ignored}
    cost = PRICES[str(effective["duration"]), bool(effective["sound"])]
    cost -= DISCOUNT if effective["prompt_directory_optin"] else 0
    effective["cost"] = cost
    return Order(prompt=str(body["prompt"]), effective=effective, credits=Decimal(cost), ignored=tuple(ignored))
