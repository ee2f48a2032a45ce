"""`size` in our words: a picture's form and its level of quality, as far as the model makes them.

Kling's levels are standard 720p, pro 1080p and 4k. OpenAI's larger sizes, 1792x1024 and 1024x1792, lie between two levels and
within 2 % of 16:9 and 9:16; code that is there asks for them, so they mean the level above.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from service.core.request import shown
from service.providers.base import Model

# width x height → aspect_ratio, quality
SIZES: Final[Mapping[str, tuple[str, str]]] = {
    "1280x720": ("16:9", "standard"),
    "720x1280": ("9:16", "standard"),
    "720x720": ("1:1", "standard"),
    "1920x1080": ("16:9", "pro"),
    "1080x1920": ("9:16", "pro"),
    "1080x1080": ("1:1", "pro"),
    "3840x2160": ("16:9", "4k"),
    "2160x3840": ("9:16", "4k"),
    "2160x2160": ("1:1", "4k"),
}
ALSO: Final[Mapping[str, str]] = {"1792x1024": "1920x1080", "1024x1792": "1080x1920", "1024x1024": "1080x1080"}
OF: Final = {meaning: size for size, meaning in SIZES.items()}
LEVELS: Final = frozenset({"quality", "mode", "resolution"})  # any of them says the level by itself


class NoSuchSize(ValueError):
    """The model does not make it; the text says what it makes."""


def words(size: object, model: Model, label: str, given: Collection[str]) -> dict[str, str]:
    """What `size` adds to the input. `given`: words that are there already, and win. Raises `NoSuchSize`."""
    meaning = SIZES.get(ALSO.get(size, size)) if isinstance(size, str) else None
    if meaning is None or not _makes(model, meaning):
        made = [one for one, other in SIZES.items() if _makes(model, other)]
        raise NoSuchSize(f"{label} makes {', '.join(made)}, not {shown(str(size))}.")
    ratio, quality = meaning
    found = {} if LEVELS & set(given) else {"quality": quality}
    # Where the image decides the form, the ratio of a size is nothing but its usual companion.
    decided = any(rule.word == "aspect_ratio" and not set(given).isdisjoint(rule.others) for rule in model.apart)
    return found if decided or "aspect_ratio" in given else {**found, "aspect_ratio": ratio}


def size_of(given: Mapping[str, object]) -> str | None:
    """The size of an effective input; None where an image decides the form."""
    return OF.get((str(given.get("aspect_ratio")), str(given.get("quality"))))


def _makes(model: Model, meaning: tuple[str, str]) -> bool:
    ratio, quality = meaning
    return all(
        name in model.limits and word in model.limits[name].allowed
        for name, word in (("aspect_ratio", ratio), ("quality", quality))
    )
