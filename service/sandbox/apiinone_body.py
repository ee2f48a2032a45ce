"""How API in One reads a kling-3 create: flat fields, sound on unless switched off, shots in place of a prompt."""

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

MODEL = "kling-3"
ASPECTS = ("1:1", "9:16", "16:9")
MOST_PROMPT = 2_500
RATES = {("std", False): 40, ("std", True): 60, ("pro", False): 54, ("pro", True): 80}  # credits a second
DEFAULTS: Mapping[str, object] = {
    "mode": "std",
    "duration": 5,
    "aspect_ratio": "16:9",
    "sound": True,  # the page's default, dearer by half
    "multi_shots": False,
}


def _are_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(element, dict) for element in value)


FIELDS: Fields = {
    "model": (is_one_of(MODEL), MODEL),
    "prompt": (is_text(MOST_PROMPT), f"text of 1 to {MOST_PROMPT} characters"),
    "mode": (is_one_of("std", "pro"), "std or pro"),
    "duration": (is_whole(3, 15), "a whole number from 3 to 15"),
    "aspect_ratio": (is_one_of(*ASPECTS), f"one of {', '.join(ASPECTS)}"),
    "sound": (is_flag, "a boolean"),
    "image": (is_link, "an http or https URL"),
    "multi_shots": (is_flag, "a boolean"),
    "multi_prompt": (_are_objects, "a list of {prompt, duration}"),
    "kling_elements": (_are_objects, "a list of objects"),
}


def read_order(body: Mapping[str, object]) -> Order:
    """Check every field, then the shots."""
    check_fields(body, FIELDS, ("model",))
    asked = {**DEFAULTS, **body}
    ignored = strangers(body, FIELDS)
    if asked["multi_shots"] is True:
        _check_shots(asked)
    else:
        if "prompt" not in body:
            raise Refused("prompt is required unless multi_shots is true")
        ignored += ["/multi_prompt"] if "multi_prompt" in body else []
    effective = {name: value for name, value in asked.items() if f"/{name}" not in ignored}
    cost = RATES[str(asked["mode"]), bool(asked["sound"])] * int(str(asked["duration"]))
    effective["cost"] = cost
    return Order(
        prompt=_words(effective),
        effective=effective,
        credits=Decimal(cost),
        ignored=tuple(ignored),
    )


def _words(effective: Mapping[str, object]) -> str:
    """What identifies the purchase to the oracle and carries directives: the prompt, or that of every shot."""
    shots = effective.get("multi_prompt", [])
    spoken = [str(shot["prompt"]) for shot in shots if isinstance(shot, dict)] if isinstance(shots, list) else []
    return str(effective.get("prompt") or " / ".join(spoken))


def _check_shots(asked: Mapping[str, object]) -> None:
    shots = asked.get("multi_prompt")
    if not isinstance(shots, list) or not shots:
        raise Refused("multi_shots needs multi_prompt")
    whole = is_whole(1, 15)
    for index, shot in enumerate(shots):
        if (
            set(shot) != {"prompt", "duration"}
            or not is_text(MOST_PROMPT)(shot["prompt"])
            or not whole(shot["duration"])
        ):
            raise Refused(f"multi_prompt[{index}] must be a prompt and a duration from 1 to 15")
    if sum(shot["duration"] for shot in shots) != asked["duration"]:
        # Likely and not stated. A client that keeps to it is right under either reading.
        raise Refused(f"the durations of multi_prompt must sum to {asked['duration']}")
