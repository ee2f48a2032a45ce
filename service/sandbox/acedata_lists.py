"""The lists in an AceData create: pictures and a video to refer to, and shots."""

from __future__ import annotations

from collections.abc import Mapping

from service.sandbox.acedata_models import Model
from service.sandbox.order import Refused, is_link

MOST_SHOTS, MOST_SHOT_PROMPT = 6, 512
MOST_PICTURES, MOST_BESIDE_A_VIDEO = 7, 4
FRAMES = ("first_frame", "end_frame")


def refused(message: str) -> Refused:
    return Refused(message, code="bad_request")


def check_references(asked: Mapping[str, object], model: Model) -> None:
    """image_list and video_list: o1 and v3-omni only, counted together with the frames."""
    given = [name for name in ("image_list", "video_list") if name in asked]
    if not given:
        return
    if not model.references:
        raise refused(f"{given[0]} is not supported by {asked['model']}")
    pictures, videos = _list(asked, "image_list"), _list(asked, "video_list")
    for index, picture in enumerate(pictures):
        if not _is_picture(picture):
            raise refused(f"image_list[{index}] must be an image_url, and a type of {' or '.join(FRAMES)} if any")
    if "video_list" in asked and (len(videos) != 1 or not _is_video(videos[0])):
        raise refused("video_list must be exactly one video_url, with refer_type and keep_original_sound if any")
    count = len(pictures) + sum(name in asked for name in ("start_image_url", "end_image_url"))
    most = MOST_BESIDE_A_VIDEO if videos else MOST_PICTURES
    if count > most:
        raise refused(f"at most {most} images, frames included")
    base = [video for video in videos if isinstance(video, dict) and video.get("refer_type", "base") == "base"]
    if base and frames_listed(asked):
        raise refused("a base video is not allowed together with first or end frames")


def frames_listed(asked: Mapping[str, object]) -> bool:
    """Whether a first or end frame is given, in a field of its own or in the list."""
    listed = any(isinstance(picture, dict) and "type" in picture for picture in _list(asked, "image_list"))
    return listed or "start_image_url" in asked or "end_image_url" in asked


def check_shots(asked: Mapping[str, object], model: Model) -> None:
    """multi_shot, shot_type, multi_prompt: v3 and v3-omni only; written shots fill the whole duration."""
    given = [name for name in ("shot_type", "multi_prompt") if name in asked]
    if asked.get("multi_shot") is not True:
        if given:
            raise refused(f"{given[0]} needs multi_shot")
        return
    if not model.shots:
        raise refused(f"multi_shot is not supported by {asked['model']}")
    if asked.get("shot_type") != "customize":
        if "multi_prompt" in asked:
            raise refused("multi_prompt needs shot_type customize")
        return
    shots = _list(asked, "multi_prompt")
    if not 1 <= len(shots) <= MOST_SHOTS:
        raise refused(f"multi_prompt must hold 1 to {MOST_SHOTS} shots")
    for index, shot in enumerate(shots):
        if not _is_shot(shot):
            raise refused(
                f"multi_prompt[{index}] must be an index, a prompt of 1 to {MOST_SHOT_PROMPT} characters and a duration from 1"
            )
    if sum(shot["duration"] for shot in shots if isinstance(shot, dict)) != asked["duration"]:
        raise refused(f"the durations of multi_prompt must sum to {asked['duration']}")


def _list(asked: Mapping[str, object], name: str) -> list[object]:
    value = asked.get(name, [])
    return value if isinstance(value, list) else []


def _is_picture(value: object) -> bool:
    match value:
        case {"image_url": url, **rest} if is_link(url) and set(rest) <= {"type"}:
            return rest.get("type", FRAMES[0]) in FRAMES
    return False


def _is_video(value: object) -> bool:
    match value:
        case {"video_url": url, **rest} if is_link(url) and set(rest) <= {"refer_type", "keep_original_sound"}:
            refers, sounds = rest.get("refer_type", "base"), rest.get("keep_original_sound", "yes")
            return refers in ("base", "feature") and sounds in ("yes", "no")
    return False


def _is_shot(value: object) -> bool:
    match value:
        case {"index": int(), "prompt": str(text), "duration": seconds, **rest} if not rest:
            return 1 <= len(text) <= MOST_SHOT_PROMPT and type(seconds) is int and seconds >= 1
    return False
