"""What AceData's Kling models take: one table, and what is judged and published of each model from it.

From AceData's own Kling guide and specification. Its first page still lists models and durations that are gone, and its
sample request sends placeholders; none of that is here. `element_list` is closed on purpose there: its ids are not kept
apart by customer. Prices stand in their console only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from service.providers import limits
from service.providers.base import Model
from service.providers.checks import ASPECT_RATIOS
from service.providers.limits import Apart, Limit

LEVELS = {"standard": "std", "pro": "pro", "4k": "4k"}
BOTH = frozenset({"std", "pro"})
ALL = BOTH | {"4k"}
NONE: frozenset[str] = frozenset()
FIVE_OR_TEN = (5, 10)
LONG = tuple(range(3, 16))

PROMPT_LIMIT = 2500  # AceData states none; this is Kling's
NEGATIVE_LIMIT = 200
SHOTS_LIMIT, SHOT_PROMPT_LIMIT = 6, 512
IMAGES_LIMIT, IMAGES_LIMIT_WITH_VIDEO = 7, 4
CAMERAS = ("simple", "down_back", "forward_up", "left_turn_forward", "right_turn_forward")
AXES = ("horizontal", "vertical", "pan", "tilt", "roll", "zoom")
ACTIONS = ("text2video", "image2video", "extend")
TUNING = ("negative_prompt", "cfg_scale")
BESIDE_REFERENCES = "takes no {word} beside references. Leave it out."
VIDEO_FIELDS = {"refer_type": ("base", "feature"), "keep_original_sound": ("yes", "no")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """One row: in which modes a model does what, and within how many seconds."""

    seconds: tuple[int, ...] = FIVE_OR_TEN
    modes: frozenset[str] = BOTH
    sound: frozenset[str] = NONE  # modes that make sound when asked
    always_sound: bool = False
    end_image: frozenset[str] = NONE
    end_image_seconds: tuple[int, ...] = LONG
    camera: frozenset[str] = NONE
    camera_seconds: tuple[int, ...] = LONG
    tuning: bool = True  # negative_prompt and cfg_scale
    tuning_when_extending: bool = True
    extends: bool = False
    references: bool = False  # images and a video that the prompt cites
    shots: bool = False


TABLE: Mapping[str, Abilities] = {
    "kling-v3": Abilities(seconds=LONG, modes=ALL, sound=ALL, end_image=ALL, camera=BOTH, shots=True),
    "kling-v3-omni": Abilities(seconds=LONG, modes=ALL, sound=ALL, end_image=ALL, references=True, shots=True),
    "kling-v3-turbo": Abilities(seconds=LONG, always_sound=True, tuning=False),
    "kling-v2-6": Abilities(sound=frozenset({"pro"}), end_image=frozenset({"pro"})),
    "kling-v2-5-turbo": Abilities(end_image=frozenset({"pro"}), extends=True),
    "kling-v2-1-master": Abilities(modes=frozenset({"std"})),
    "kling-v2-master": Abilities(modes=frozenset({"std"})),
    "kling-v1-6": Abilities(end_image=frozenset({"pro"}), extends=True),
    "kling-v1": Abilities(
        end_image=BOTH, end_image_seconds=(5,), camera=BOTH, camera_seconds=(5,), extends=True, tuning_when_extending=False
    ),
    "kling-o1": Abilities(seconds=(5,), end_image=BOTH, tuning=False, references=True),
}  # fmt: skip


def _limits(row: Abilities) -> dict[str, Limit]:
    """What each word may say, of those that the model takes."""
    levels = {ours: theirs for ours, theirs in LEVELS.items() if theirs in row.modes}
    instead = [word for word, able in (("shots", row.shots), ("video_id", row.extends)) if able]
    silent = limits.flag(False) if row.sound else limits.flag(False, only=False)
    found = {
        "prompt": limits.text(PROMPT_LIMIT, required=True, unless=instead),
        "duration": limits.seconds(LONG[0], LONG[-1]) if row.seconds == LONG else limits.seconds_of(row.seconds),
        "aspect_ratio": limits.choice(ASPECT_RATIOS, "16:9"),
        "quality": limits.choice(levels, "standard"),
        "mode": limits.choice(levels.values(), "std"),
        "sound": limits.flag(True, only=True) if row.always_sound else silent,
        "image": limits.link(),
        "action": limits.choice(ACTIONS if row.extends else ACTIONS[:2]),
    }
    more = (
        ("end_image", bool(row.end_image), limits.link()),
        ("negative_prompt", row.tuning, limits.text(NEGATIVE_LIMIT, blank=True)),
        ("cfg_scale", row.tuning, limits.number(0, 1)),
        ("images", row.references, limits.links(IMAGES_LIMIT)),
        ("shots", row.shots, limits.shots(SHOTS_LIMIT, SHOT_PROMPT_LIMIT)),
    )
    return found | {word: limit for word, able, limit in more if able}


def _apart(row: Abilities, words: Collection[str]) -> tuple[Apart, ...]:
    """What excludes what, of the words that the model takes."""
    extending = "takes no {word} when it extends a video. Leave it out."
    pairs = [
        (
            "prompt",
            "shots",
            "is told by its shots alone and would ignore this. Put it into the shots, or leave it out.",
        ),
        ("camera", "image", "takes no camera beside a start image. Leave one of them out."),
        *((word, "video_id", extending) for word in ("image", "end_image", "camera")),
    ]
    if not row.tuning_when_extending:
        pairs += [(word, "video_id", extending) for word in TUNING]
    pairs += [(word, "images", BESIDE_REFERENCES) for word in TUNING]
    return tuple(
        Apart(word=word, others=(other,), why=why.format(word=word))
        for word, other, why in pairs
        if word in words and other in words
    )


def _rules(row: Abilities) -> tuple[str, ...]:
    """What no table can say."""
    levels = ", ".join(f"{ours} is {theirs}" for ours, theirs in LEVELS.items() if theirs in row.modes)
    told = [
        f"quality and mode say the same: {levels}.",
        "The rest of the input says the action; stated as well, it must agree.",
    ]
    if row.sound:
        told += [f"Sound is made{_only(row, row.sound)}."] if row.sound != row.modes else []
    if row.end_image:
        told.append(f"end_image needs image{_only(row, row.end_image, row.end_image_seconds, ', and goes')}.")
    if row.camera:
        told.append(
            f"camera.type is one of {', '.join(CAMERAS)}; camera.config moves along {', '.join(AXES)} by -1 to 1."
        )
        told += [f"The camera moves{only}."] if (only := _only(row, row.camera, row.camera_seconds)) else []
    if row.shots:
        told.append("The durations of the shots add up to duration.")
        told.append("shot_type customize needs shots, intelligence takes none.")
    if row.references:
        without = ", no ".join(("sound", *(TUNING if row.tuning else ())))
        told.append(f"At most {IMAGES_LIMIT} images, frames included; {IMAGES_LIMIT_WITH_VIDEO} beside a video.")
        told.append("The prompt cites every reference, as <<<image_1>>> or <<<video_1>>>.")
        told += ["Nothing is made of references in 4k."] if "4k" in row.modes else []
        told.append("video_list holds one {video_url, refer_type: base or feature, keep_original_sound: yes or no}.")
        told.append(f"With a video goes no {without}; with one to edit (base), no image and no end_image.")
    return tuple(told)


def _only(row: Abilities, modes: frozenset[str], seconds: tuple[int, ...] = LONG, verb: str = "") -> str:
    """` in mode pro only`, ` for 5 seconds only`, or nothing where there is no such bound."""
    bounds = [f"in mode {' and '.join(sorted(modes))}"] if modes != row.modes else []
    bounds += ["for 5 seconds"] if seconds == (5,) and row.seconds != (5,) else []
    return f"{verb} {' and '.join(bounds)} only" if bounds else ""


def _model(name: str, row: Abilities) -> Model:
    bounded = _limits(row)
    # Their types are all that can be said of these two in a table.
    words = {*bounded, *(["camera"] if row.camera else []), *(["video_id"] if row.extends else [])}
    native = {"shot_type": limits.choice(("customize", "intelligence"))} if row.shots else {}
    return Model(
        name=name,
        inputs=frozenset(words),
        options=frozenset({*native, *(["video_list"] if row.references else [])}),
        limits=bounded,
        native=native,
        apart=_apart(row, words),
        rules=_rules(row),
    )


MODELS: Mapping[str, Model] = {name: _model(name, row) for name, row in TABLE.items()}
