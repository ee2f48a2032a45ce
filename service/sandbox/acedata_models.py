"""What AceData's models take, one row each, read off its Kling guide, API description and SDK."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

FIVE_OR_TEN = frozenset({5, 10})
THREE_TO_FIFTEEN = frozenset(range(3, 16))


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The rules of one model. A set of modes or seconds that is empty means: not at all."""

    modes: frozenset[str] = frozenset({"std", "pro"})
    seconds: frozenset[int] = FIVE_OR_TEN
    audio: frozenset[str] = frozenset()  # modes in which sound may be asked for
    audio_always: bool = False
    end_image: frozenset[str] = frozenset()  # modes
    end_image_seconds: frozenset[int] | None = None  # None: as `seconds`
    camera: frozenset[str] = frozenset()  # modes
    camera_seconds: frozenset[int] | None = None
    extends: bool = False
    references: bool = False  # image_list and video_list
    shots: bool = False
    tuned: bool = True  # negative_prompt, cfg_scale


BOTH, PRO, ALL = frozenset({"std", "pro"}), frozenset({"pro"}), frozenset({"std", "pro", "4k"})
FIVE = frozenset({5})

V3 = Model(modes=ALL, seconds=THREE_TO_FIFTEEN, audio=ALL, end_image=ALL, camera=BOTH, shots=True)

MODELS: Mapping[str, Model] = {
    "kling-v1": Model(end_image=BOTH, end_image_seconds=FIVE, camera=BOTH, camera_seconds=FIVE, extends=True),
    "kling-v1-6": Model(end_image=PRO, extends=True),
    "kling-v2-master": Model(),
    "kling-v2-1-master": Model(),
    "kling-v2-5-turbo": Model(end_image=PRO, extends=True),
    "kling-v2-6": Model(audio=PRO, end_image=PRO),
    "kling-v3": V3,
    # The guide names v3 alone for camera movements.
    "kling-v3-omni": replace(V3, camera=frozenset(), references=True),
    "kling-v3-turbo": Model(seconds=THREE_TO_FIFTEEN, audio=BOTH, audio_always=True),
    "kling-o1": Model(seconds=FIVE, end_image=BOTH, references=True, tuned=False),
}
DEFAULT_MODEL = "kling-v1"
