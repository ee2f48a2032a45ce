"""How Cloudsway reads a create: fields in their sub-objects, enums checked, whatever it does not know silently ignored."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from decimal import Decimal

from service.sandbox.order import Order, Refused, is_link, strangers

RESOLUTIONS = ("720p", "1080p")
ASPECTS = ("16:9", "9:16", "1:1")
MOST_PROMPT, MOST_FRAME_PROMPT = 3_072, 2_500
UNITS_A_SECOND = {"720p": Decimal("0.8"), "1080p": Decimal("1.0")}  # Kling's price page
IMAGES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


def read_text_order(body: Mapping[str, object]) -> Order:
    """Text to video: prompt, settings, options."""
    prompt = _text(body.get("prompt"), "prompt", MOST_PROMPT)
    ignored = strangers(body, {"prompt", "settings", "options"})
    settings = _object(body, "settings")
    effective = {"prompt": prompt, "aspect_ratio": _one_of(settings, "aspect_ratio", ASPECTS, "16:9")}
    return _order(prompt, effective, body, ignored, {"aspect_ratio"})


def read_frame_order(body: Mapping[str, object]) -> Order:
    """Image to video: the prompt is one of the contents, and the picture's shape decides the aspect ratio."""
    contents = body.get("contents")
    if not isinstance(contents, list) or not contents:
        raise Refused("contents is required")
    ignored = strangers(body, {"contents", "settings", "options"})
    frames: list[str] = []
    prompts: list[str] = []
    for index, content in enumerate(contents):
        match content:
            case {"type": "first_frame", "url": str(url)} if _is_picture(url):
                frames.append(url)
            case {"type": "prompt", "text": str(text)}:
                prompts.append(_text(text, f"contents[{index}].text", MOST_FRAME_PROMPT))
            case _:
                raise Refused(f"contents[{index}] is not a first_frame with a jpg or png url, nor a prompt with text")
        ignored += strangers(
            content, {"type", "url" if content["type"] == "first_frame" else "text"}, f"/contents/{index}"
        )
    if len(frames) != 1 or len(prompts) > 1:
        raise Refused("contents takes exactly one first_frame and at most one prompt")
    prompt = prompts[0] if prompts else ""
    return _order(prompt, {"prompt": prompt, "first_frame": frames[0][:2_048]}, body, ignored, set())


def _order(
    prompt: str, effective: Mapping[str, object], body: Mapping[str, object], ignored: list[str], also: set[str]
) -> Order:
    settings, options = _object(body, "settings"), _object(body, "options")
    watermark = _object(options, "watermark_info")
    enabled = watermark.get("enabled", False)
    if not isinstance(enabled, bool):
        raise Refused("options.watermark_info.enabled must be a boolean")
    callback_url = options.get("callback_url", "")
    if callback_url != "" and not is_link(callback_url):
        raise Refused("options.callback_url must be an http or https URL")
    external_id = options.get("external_task_id", "")
    if not isinstance(external_id, str):
        raise Refused("options.external_task_id must be a string")
    ignored += strangers(settings, {"resolution", "duration"} | also, "/settings")
    ignored += strangers(options, {"callback_url", "external_task_id", "watermark_info"}, "/options")
    ignored += strangers(watermark, {"enabled"}, "/options/watermark_info")
    resolution, duration = _one_of(settings, "resolution", RESOLUTIONS, "720p"), _duration(settings)
    return Order(
        prompt=prompt,
        effective={**effective, "resolution": resolution, "duration": duration, "watermark": enabled},
        credits=UNITS_A_SECOND[resolution] * duration,
        external_id=external_id or None,
        callback_url=str(callback_url) or None,
        ignored=tuple(ignored),
    )


def _object(parent: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = parent.get(name, {})
    if not isinstance(value, dict):
        raise Refused(f"{name} must be an object")
    return value


def _text(value: object, name: str, most: int) -> str:
    if not isinstance(value, str) or not value.strip():
        raise Refused(f"{name} is required")
    if len(value) > most:
        raise Refused(f"{name} is over {most} characters")
    return value


def _one_of(settings: Mapping[str, object], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = settings.get(name, default)
    if not isinstance(value, str) or value not in allowed:
        raise Refused(f"settings.{name} must be one of {', '.join(allowed)}")
    return value


def _duration(settings: Mapping[str, object]) -> int:
    value = settings.get("duration", 5)
    if type(value) is not int or not 3 <= value <= 15:
        raise Refused("settings.duration must be an integer from 3 to 15")
    return value


def _is_picture(url: str) -> bool:
    """A link, or the bare base64 of a JPEG or PNG."""
    if is_link(url):
        return True
    try:
        return base64.b64decode(url, validate=True).startswith(IMAGES)
    except (binascii.Error, ValueError):
        return False
