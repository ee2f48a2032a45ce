"""A request to AceData's Kling models: checked against their table before anything is bought, and how it is written."""

from __future__ import annotations

from collections.abc import Mapping

from service.core.request import shown
from service.providers import reading
from service.providers.acedata_table import (
    ACTIONS,
    AXES,
    BESIDE_REFERENCES,
    CAMERAS,
    IMAGES_LIMIT,
    IMAGES_LIMIT_WITH_VIDEO,
    LEVELS,
    LONG,
    TABLE,
    TUNING,
    VIDEO_FIELDS,
    Abilities,
)
from service.providers.checks import ASPECT_RATIOS, SECONDS_DEFAULT, Check, is_link


def effective(check: Check) -> dict[str, object]:
    """The input with every default spelled out; every fault is noted in `check`."""
    row = TABLE[check.model.name]
    levels = {ours: theirs for ours, theirs in LEVELS.items() if theirs in row.modes}
    quality, mode = check.level(levels, "mode")
    video = _video(check)
    action = _action(check, row, video)
    shots = check.shots()
    prompt = _prompt(check, shots)
    duration = _duration(check, row, shots)
    ratio = "16:9" if action == "text2video" and video is None and "image" not in check.given else None
    values = {
        "action": action,
        "prompt": prompt,
        "duration": duration,
        "aspect_ratio": check.choice("aspect_ratio", ASPECT_RATIOS, ratio),
        "quality": quality,
        "mode": mode,
        "sound": _sound(check, row, mode, video),
        "image": check.url("image"),
        "end_image": _end_image(check, row, mode, duration),
        "images": check.urls("images") or None,
        "video_id": check.given.get("video_id"),
        "shots": shots or None,
        "camera": _camera(check, row, mode, duration),
        "negative_prompt": check.text("negative_prompt"),
        "cfg_scale": check.number("cfg_scale"),
    }
    _references(check, prompt, mode, video)
    return {name: value for name, value in values.items() if value is not None}


def _action(check: Check, row: Abilities, video: Mapping[str, object] | None) -> str:
    """What is to be done, which the rest of the input says already; stated as well, it must agree."""
    given = check.given
    extending = "video_id" in given and row.extends
    # Frames beside references are references of their own: such a request stays text2video.
    pictured = "image" in given and "images" not in given and video is None
    action = "extend" if extending else "image2video" if pictured else "text2video"
    said = given.get("action", action)
    if said == "extend" and not row.extends:
        able = ", ".join(name for name, other in TABLE.items() if other.extends)
        check.refuse("action", f"extends no video. These do: {able}.")
    elif said not in ACTIONS:
        check.refuse("action", f'has no action "{shown(str(said))}". It has text2video, image2video and extend.')
    elif said != action:
        needs = {"extend": "a video_id", "image2video": "an image"}.get(str(said), "neither image nor video_id")
        check.refuse("action", f"needs {needs} for {said}. Leave action out, and the input decides.")
    return action


def _prompt(check: Check, shots: list[dict[str, object]]) -> str | None:
    chosen = check.options.get("shot_type")
    if chosen in ("customize", "intelligence") and (chosen == "customize") != bool(shots):
        needs = "needs shots for customize" if chosen == "customize" else "chooses the shots itself: leave shots out"
        check.refuse_option("shot_type", f"{needs}, or leave shot_type out.")
    return None if shots and "prompt" in check.given else check.prompt()


def _duration(check: Check, row: Abilities, shots: list[dict[str, object]]) -> int:
    told = sum(shot["duration"] for shot in shots if isinstance(shot["duration"], int))
    default = told if told in row.seconds else SECONDS_DEFAULT
    duration = check.seconds(default=default) if row.seconds == LONG else check.seconds_of(default=default)
    if shots and told != duration:
        check.refuse("shots", f"needs shots that add up to the duration: they take {told} s of {duration} s.")
    return duration


def _sound(check: Check, row: Abilities, mode: str, video: Mapping[str, object] | None) -> bool:
    wanted = check.flag("sound", row.always_sound)
    if row.always_sound and not wanted:
        check.refuse("sound", "always makes sound and cannot switch it off. Leave sound out, or send true.")
    elif wanted and video is not None:
        check.refuse("sound", "makes no sound beside a reference video. Leave sound out, or send false.")
    elif wanted and not row.always_sound and mode not in row.sound:
        where = f"makes sound in mode {' and '.join(sorted(row.sound))} only" if row.sound else "makes no sound"
        able = ", ".join(name for name, other in TABLE.items() if other.sound or other.always_sound)
        check.refuse("sound", f"{where}. These make it: {able}.")
    return wanted


def _end_image(check: Check, row: Abilities, mode: str, duration: int) -> str | None:
    if "end_image" not in check.model.inputs:
        return None
    link = check.url("end_image")
    if link is None:
        return None
    if "image" not in check.given:
        check.refuse("end_image", "takes an end_image only after a start: send image as well.")
    if mode not in row.end_image:
        check.refuse("end_image", f"takes an end_image in mode {' and '.join(sorted(row.end_image))} only.")
    if duration not in row.end_image_seconds:
        check.refuse("end_image", "takes an end_image for 5 seconds only.")
    return link


def _camera(check: Check, row: Abilities, mode: str, duration: int) -> object:
    camera = check.given.get("camera")
    if not isinstance(camera, dict) or "camera" not in check.model.inputs:
        return None
    if camera.get("type") not in CAMERAS:
        check.refuse(("camera", "type"), f"has these camera movements: {', '.join(CAMERAS)}.")
    for axis, value in reading.members(camera.get("config")).items():
        if axis not in AXES:
            check.refuse(("camera", "config", axis), f"moves along {', '.join(AXES)}.")
        elif not isinstance(value, int | float) or not -1 <= value <= 1:
            check.refuse(("camera", "config", axis), "takes a number from -1 to 1 here.")
    if mode not in row.camera:
        check.refuse("camera", f"moves the camera in mode {' and '.join(sorted(row.camera))} only.")
    if duration not in row.camera_seconds:
        check.refuse("camera", "moves the camera for 5 seconds only.")
    return camera


def _video(check: Check) -> Mapping[str, object] | None:
    """The one reference video, if there is a usable one."""
    if "video_list" not in check.options or "video_list" not in check.model.options:
        return None
    value = check.options["video_list"]
    video = value[0] if isinstance(value, list) and len(value) == 1 else None
    if not isinstance(video, dict):
        check.refuse_option("video_list", "takes exactly one video: [{video_url, refer_type, keep_original_sound}].")
        return None
    if not is_link(video.get("video_url")):
        check.refuse_option("video_list", "fetches the video itself. Send its public http or https URL as video_url.")
    for name, value in video.items():
        if name != "video_url" and (name not in VIDEO_FIELDS or value not in VIDEO_FIELDS[name]):
            check.refuse_option("video_list", "takes refer_type base or feature and keep_original_sound yes or no.")
            break
    if video.get("refer_type", "base") == "base":
        for word in ("image", "end_image"):
            if word in check.given:
                check.refuse(word, f"takes no {word} beside a video to edit (refer_type base). Leave it out.")
    return video


def _references(check: Check, prompt: str | None, mode: str, video: Mapping[str, object] | None) -> None:
    images = reading.items(check.given.get("images")) if "images" in check.model.inputs else []
    if not images and video is None:
        return
    frames = sum(word in check.given for word in ("image", "end_image"))
    limit = IMAGES_LIMIT if video is None else IMAGES_LIMIT_WITH_VIDEO
    if len(images) <= IMAGES_LIMIT < len(images) + frames or (video is not None and len(images) + frames > limit):
        beside = "" if video is None else " beside a video"
        check.refuse("images", f"takes at most {limit} images{beside}, start and end image included.")
    if mode == "4k":
        check.refuse(
            "mode" if "mode" in check.given else "quality", "makes no 4k out of references. Choose std or pro."
        )
    for word in TUNING if video is not None and not images else ():
        if word in check.given and word in check.model.inputs:
            check.refuse(word, BESIDE_REFERENCES.format(word=word))
    # What the prompt does not cite is silently ignored, and paid for.
    cited = [f"<<<image_{number}>>>" for number in range(1, len(images) + 1)] + ["<<<video_1>>>"] * (video is not None)
    missing = [citation for citation in cited if prompt is not None and citation not in prompt]
    if missing:
        check.refuse("prompt", f"ignores a reference that the prompt does not cite. Cite {', '.join(missing)} in it.")


def options(given: Mapping[str, object]) -> dict[str, object]:
    """The native fields with their defaults spelled out."""
    videos = [{"refer_type": "base", **reading.members(video)} for video in reading.items(given.get("video_list"))]
    return {**given, "video_list": videos} if videos else dict(given)


def body(
    model: str, given: Mapping[str, object], native: Mapping[str, object], callback_url: str | None
) -> dict[str, object]:
    """The request as it travels. Without a callback URL and without `async` the call would stay open for minutes."""
    referring = "images" in given or "video_list" in native
    request: dict[str, object | None] = {
        "action": given["action"],
        "model": model,  # the default is a model that is gone
        "mode": given["mode"],
        "prompt": given.get("prompt"),
        "duration": given["duration"],
        "generate_audio": bool(given.get("sound")),
        "aspect_ratio": given.get("aspect_ratio"),
        "negative_prompt": given.get("negative_prompt"),
        "cfg_scale": given.get("cfg_scale"),
        "camera_control": given.get("camera"),
        "start_image_url": None if referring else given.get("image"),
        "end_image_url": None if referring else given.get("end_image"),
        "video_id": given.get("video_id"),
        "image_list": (_image_list(given) or None) if referring else None,
        "video_list": native.get("video_list"),
        **_multi_shot(given, native),
        **({"callback_url": callback_url} if callback_url is not None else {"async": True}),
    }
    return {name: value for name, value in request.items() if value is not None}


def _image_list(given: Mapping[str, object]) -> list[dict[str, object]]:
    """References first, so that the prompt's <<<image_1>>> is the first of `images`; frames after them, by their type."""
    listed: list[dict[str, object]] = [{"image_url": image} for image in reading.items(given.get("images"))]
    for word, kind in (("image", "first_frame"), ("end_image", "end_frame")):
        if word in given:
            listed.append({"image_url": given[word], "type": kind})
    return listed


def _multi_shot(given: Mapping[str, object], native: Mapping[str, object]) -> dict[str, object]:
    shots = [reading.members(shot) for shot in reading.items(given.get("shots"))]
    if shots:
        prompts = [
            {"index": index, "prompt": shot["prompt"], "duration": shot["duration"]}
            for index, shot in enumerate(shots, start=1)
        ]
        return {"multi_shot": True, "shot_type": "customize", "multi_prompt": prompts}
    return {"multi_shot": True, "shot_type": "intelligence"} if native.get("shot_type") == "intelligence" else {}
