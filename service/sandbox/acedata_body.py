"""How AceData reads POST /kling/videos: every field typed, then the rules of the model, then those between the fields."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal

from service.sandbox.acedata_lists import check_references, check_shots, frames_listed
from service.sandbox.acedata_models import DEFAULT_MODEL, MODELS, Model
from service.sandbox.order import Fields, Order, Refused, check_fields, is_flag, is_link, is_one_of, is_text, strangers

ACTIONS = ("text2video", "image2video", "extend")
ASPECTS = ("16:9", "9:16", "1:1")
CAMERAS = ("simple", "down_back", "forward_up", "left_turn_forward", "right_turn_forward")
AXES = ("horizontal", "vertical", "pan", "tilt", "roll", "zoom")
MOST_PROMPT, MOST_NEGATIVE = 2_500, 200  # the first is Kling's; AceData states none
# Ours: AceData tells its prices in its console only. Credits a second, so that a configured price can be compared.
CREDITS_A_SECOND = {"std": Decimal("0.42"), "pro": Decimal("0.84"), "4k": Decimal("1.68")}


def is_camera(value: object) -> bool:
    match value:
        case {"type": str(kind), **rest} if kind in CAMERAS and set(rest) <= {"config"}:
            config = rest.get("config", {})
            return isinstance(config, dict) and all(
                axis in AXES and type(amount) in (int, float) and -1 <= amount <= 1 for axis, amount in config.items()
            )
    return False


FIELDS: Fields = {
    "action": (is_one_of(*ACTIONS), f"one of {', '.join(ACTIONS)}"),
    "model": (lambda value: isinstance(value, str), "text"),
    "mode": (is_one_of("std", "pro", "4k"), "std, pro or 4k"),
    "prompt": (is_text(MOST_PROMPT), f"text of 1 to {MOST_PROMPT} characters"),
    "duration": (lambda value: type(value) is int, "a whole number"),
    "generate_audio": (is_flag, "a boolean"),
    "aspect_ratio": (is_one_of(*ASPECTS), f"one of {', '.join(ASPECTS)}"),
    "negative_prompt": (
        lambda value: isinstance(value, str) and len(value) <= MOST_NEGATIVE,
        f"text of at most {MOST_NEGATIVE} characters",
    ),
    "cfg_scale": (lambda value: type(value) in (int, float) and 0 <= float(str(value)) <= 1, "a number from 0 to 1"),
    "camera_control": (is_camera, "a type and a config of six numbers from -1 to 1"),
    "start_image_url": (is_link, "an http or https URL"),
    "end_image_url": (is_link, "an http or https URL"),
    "video_id": (is_text(100), "text"),
    "image_list": (lambda value: isinstance(value, list), "a list"),
    "video_list": (lambda value: isinstance(value, list), "a list"),
    "multi_shot": (is_flag, "a boolean"),
    "shot_type": (is_one_of("intelligence", "customize"), "intelligence or customize"),
    "multi_prompt": (lambda value: isinstance(value, list), "a list"),
    "callback_url": (is_link, "an http or https URL"),
    "async": (is_flag, "a boolean"),
    "timeout": (lambda value: type(value) in (int, float) and 0 < float(str(value)) <= 3_600, "a number of seconds"),
}
DEFAULTS: Mapping[str, object] = {"model": DEFAULT_MODEL, "mode": "std", "duration": 5, "aspect_ratio": "16:9"}
ONLY_FOR = {"start_image_url": "image2video", "video_id": "extend"}


def refused(message: str) -> Refused:
    return Refused(message, code="bad_request")


def read_order(body: Mapping[str, object], retired: Collection[str]) -> Order:
    """Turn a body into an order, or say what is wrong with it."""
    if "element_list" in body:
        # Once a field; their newer pages close it, because its ids are not kept apart by tenant.
        raise refused("element_list is not supported")
    try:
        check_fields(body, FIELDS, ("action",))
    except Refused as error:
        raise refused(str(error)) from error
    asked = {**DEFAULTS, **body}
    model = MODELS.get(str(asked["model"]))
    if model is None or asked["model"] in retired:
        raise refused(
            f"model {asked['model']} is not available" if model is None else f"model {asked['model']} is retired"
        )
    ignored = _without_effect(body)
    asked = {name: value for name, value in asked.items() if f"/{name}" not in ignored}
    _check_action(asked, model)
    _check_model(asked, model)
    check_shots(asked, model)
    check_references(asked, model)
    prompt = asked.get("prompt", "")
    credits = CREDITS_A_SECOND[str(asked["mode"])] * int(str(asked["duration"]))
    effective = {name: value for name, value in asked.items() if name != "callback_url"}
    effective["generate_audio"] = bool(asked.get("generate_audio", model.audio_always))
    return Order(
        prompt=str(prompt),
        effective=effective,
        credits=credits,
        ignored=tuple(ignored),
        callback_url=str(asked["callback_url"]) if "callback_url" in asked else None,
        sent=body,
    )


def _without_effect(body: Mapping[str, object]) -> list[str]:
    """Fields it does not have, and those of another action: the page says `when the action is …` and no more."""
    unused = [f"/{name}" for name, action in ONLY_FOR.items() if name in body and body["action"] != action]
    return strangers(body, FIELDS) + unused


def _check_action(asked: Mapping[str, object], model: Model) -> None:
    name = asked["model"]
    if asked["action"] == "extend":
        if not model.extends:
            raise refused(f"extend is not supported by {name}")
        if "video_id" not in asked:
            raise refused("extend needs video_id")
    elif "prompt" not in asked and asked.get("shot_type") != "customize":
        raise refused("prompt is required")
    if asked["action"] == "image2video" and "start_image_url" not in asked and not asked.get("image_list"):
        raise refused("image2video needs start_image_url")


def _check_model(asked: Mapping[str, object], model: Model) -> None:
    name, mode, seconds = asked["model"], str(asked["mode"]), int(str(asked["duration"]))
    if mode not in model.modes:
        raise refused(f"mode {mode} is not supported by {name}")
    if seconds not in model.seconds:
        raise refused(f"duration must be one of {', '.join(map(str, sorted(model.seconds)))} for {name}")
    _check_audio(asked, model)
    if "end_image_url" in asked:
        if mode not in model.end_image or seconds not in (model.end_image_seconds or model.seconds):
            raise refused(f"end_image_url is not supported by {name} in mode {mode} at {seconds} s")
        if "start_image_url" not in asked:
            raise refused("end_image_url needs start_image_url")
    if "camera_control" in asked:
        if mode not in model.camera or seconds not in (model.camera_seconds or model.seconds):
            raise refused(f"camera_control is not supported by {name} in mode {mode} at {seconds} s")
        if "start_image_url" in asked:
            raise refused("camera_control is not allowed together with start_image_url")
    tuning = [field for field in ("negative_prompt", "cfg_scale", "camera_control") if field in asked]
    if tuning and (not model.tuned or asked.get("image_list") or asked.get("video_list")):
        raise refused(f"{tuning[0]} is not allowed with references or {name}")
    if mode == "4k" and (frames_listed(asked) or asked.get("image_list") or asked.get("video_list")):
        raise refused("mode 4k is not allowed with references")


def _check_audio(asked: Mapping[str, object], model: Model) -> None:
    wanted = asked.get("generate_audio")
    if wanted is True and str(asked["mode"]) not in model.audio:
        raise refused(f"generate_audio is not supported by {asked['model']} in mode {asked['mode']}")
    if wanted is False and model.audio_always:
        raise refused(f"{asked['model']} always has audio: leave generate_audio out")
    if wanted is True and asked.get("video_list"):
        raise refused("generate_audio is not allowed together with video_list")
