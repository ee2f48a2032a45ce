"""What a client may ask for: the request vocabulary, its bounds, and how every fault is reported at once."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, NotRequired, cast

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from pydantic_core import ErrorDetails, PydanticCustomError
from typing_extensions import TypedDict

from service.core.json_text import MAX_DEPTH, MAX_NODES, Malformed, load_json
from service.core.plain_text import unusable

__all__ = ["Fault", "Invalid", "Malformed", "TaskRequest", "load_json", "parse", "pointer", "shown"]

MAX_FAULTS = 100
MOST_FALLBACKS = 5
MAX_TEXT = 20_000  # far above every provider's prompt limit, which the adapter names exactly

EVENT_TYPES = (
    "task.submitted",
    "task.processing",
    "task.succeeded",
    "task.failed",
    "task.canceled",
    "task.expired",
    "task.unconfirmed",
    "task.conflict",
    "task.corrected",
    "task.*",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong with a request. `pointer`: JSON pointer into the body (RFC 6901)."""

    pointer: str
    detail: str


class Invalid(ValueError):
    """The request breaks at least one rule; `faults` names them all.

    `rest`: the request without its faulty places, where that still makes one: a contract may have faults to add.
    """

    def __init__(self, faults: Sequence[Fault], rest: TaskRequest | None = None) -> None:
        super().__init__("; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults))
        self.faults = tuple(faults)
        self.rest = rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """Who is to be asked next, should everybody before refuse: a provider or one account of one, with its own options."""

    provider: str | None = None
    account: str | None = None
    model: str
    provider_options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRequest:
    """A body of POST /v1/tasks, typed and bounded but not yet checked against a contract."""

    provider: str | None = None
    account: str | None = None
    model: str
    input: Mapping[str, object]
    provider_options: Mapping[str, object] = field(default_factory=dict)
    fallbacks: tuple[Alternative, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    reference: str | None = None
    webhook_url: str | None = None
    webhook_events: tuple[str, ...] | None = None
    deadline_seconds: int = 7200


def _printable(text: str) -> str:
    if not text.isprintable():
        raise PydanticCustomError("printable", "This may hold printable characters only, all on one line.")
    return text


Text = Annotated[str, Field(max_length=MAX_TEXT)]
Word = Annotated[str, Field(min_length=1, max_length=100)]
Url = Annotated[str, Field(min_length=1, max_length=2048)]
Name = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_printable)]
Number = Annotated[float, Field(allow_inf_nan=False)]

_STRICT = ConfigDict(strict=True, extra="forbid")


@with_config(_STRICT)
class Shot(TypedDict):
    """One part of a video told in several shots."""

    prompt: Text
    duration: int


@with_config(_STRICT)
class Camera(TypedDict):
    """A camera movement: its kind and, for some kinds, by how much."""

    type: Word
    config: NotRequired[Annotated[dict[Word, Number], Field(max_length=12)]]


@with_config(_STRICT)
class Input(TypedDict, total=False):
    """The one vocabulary of all contracts. Types are judged here, limits by the contract."""

    prompt: Text
    negative_prompt: Text
    duration: int
    aspect_ratio: Word
    quality: Word
    mode: Word
    resolution: Word
    sound: bool
    image: Url
    end_image: Url
    images: Annotated[list[Url], Field(min_length=1, max_length=16)]
    shots: Annotated[list[Shot], Field(min_length=1, max_length=16)]
    camera: Camera
    cfg_scale: Number
    watermark: bool
    action: Word
    video_id: Word
    share_publicly: bool


@with_config(_STRICT)
class Fallback(TypedDict):
    """One of those who are asked in order when a task is refused and nothing was made."""

    provider: NotRequired[Name | None]
    account: NotRequired[Name | None]
    model: Name
    provider_options: NotRequired[dict[str, Any]]


@with_config(_STRICT)
class Body(TypedDict):
    """POST /v1/tasks as it travels."""

    provider: NotRequired[Name | None]
    account: NotRequired[Name | None]
    model: Name
    input: Input
    provider_options: NotRequired[dict[str, Any]]
    fallbacks: NotRequired[Annotated[list[Fallback], Field(max_length=MOST_FALLBACKS)]]
    metadata: NotRequired[
        Annotated[
            dict[Annotated[str, Field(min_length=1, max_length=40)], Annotated[str, Field(max_length=500)]],
            Field(max_length=50),
        ]
    ]
    reference: NotRequired[Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)] | None]
    webhook_url: NotRequired[Url | None]
    webhook_events: NotRequired[Annotated[list[Word], Field(min_length=1, max_length=32)] | None]
    deadline_seconds: NotRequired[Annotated[int, Field(ge=60, le=604_800)]]


_BODY = TypeAdapter(Body)

_DETAILS = {
    "missing": "This is required.",
    "string_type": "This must be text, in quotes.",
    "int_type": "This must be a whole number without quotes, such as 5.",
    "int_from_float": "This must be a whole number, such as 5.",
    "float_type": "This must be a number without quotes.",
    "finite_number": "This must be a finite number.",
    "bool_type": "This must be true or false, without quotes.",
    "list_type": "This must be a list.",
    "dict_type": "This must be an object.",
    "string_too_long": "This is longer than {max_length} characters. Shorten it.",
    "string_too_short": "This must not be empty. Fill it or leave it out.",
    "too_long": "This holds more than {max_length} entries. Send fewer.",
    "too_short": "This is empty. Fill it or leave it out.",
    "greater_than_equal": "This must be at least {ge}.",
    "less_than_equal": "This must be at most {le}.",
}


def parse(body: object, *, event_types: Collection[str] = EVENT_TYPES) -> TaskRequest:
    """Type and bound a decoded body. Raises `Invalid` with every fault, each at its pointer."""
    faults: dict[str, str] = {}
    try:
        for place, detail in _unusable(body):
            faults.setdefault(place, detail)
    except _TooLarge as error:
        raise Invalid([Fault(pointer="", detail=str(error))]) from None
    typed: Body | None = None
    try:
        typed = _BODY.validate_python(body)
    except ValidationError as error:
        for wrong in error.errors(include_url=False, include_input=False):
            if wrong["type"] != "string_unicode" or not faults:  # lone surrogates: told above, at the right place
                faults.setdefault(pointer(*_place(wrong["loc"])), _detail(wrong))
    if isinstance(body, dict):
        for place, detail in _cross(body, event_types):
            faults.setdefault(place, detail)
    if faults or typed is None:
        told = [Fault(pointer=place, detail=detail) for place, detail in faults.items()][:MAX_FAULTS]
        raise Invalid(told, _rest(body, list(faults)[:MAX_FAULTS]))
    return _request(typed)


def _rest(body: object, places: Sequence[str]) -> TaskRequest | None:
    """The request that is left when every faulty member is taken out, or None when that is no request."""
    left = copy.deepcopy(body)
    for place in places:
        _take_out(left, [part.replace("~1", "/").replace("~0", "~") for part in place.split("/")[1:]])
    try:
        return _request(_BODY.validate_python(left))
    except ValidationError:
        return None


def _take_out(holder: object, parts: Sequence[str]) -> None:
    """Remove the member a place leads to; of a place within a list, the whole list."""
    while len(parts) > 1 and isinstance(holder, dict) and isinstance(holder.get(parts[0]), dict):
        holder, parts = holder[parts[0]], parts[1:]
    if parts and isinstance(holder, dict):
        holder.pop(parts[0], None)


def pointer(*parts: str | int) -> str:
    """A JSON pointer that can be written anywhere: escaped (RFC 6901), unusable characters replaced, bounded."""
    return "".join("/" + _safe(str(part), 60).replace("~", "~0").replace("/", "~1") for part in parts)


def shown(word: str) -> str:
    """A client's own word as it may appear in an error text."""
    return _safe(word, 60)


def _safe(text: str, limit: int) -> str:
    short = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(character if character.isprintable() else "\ufffd" for character in short)


def refuse_unusable(body: object) -> None:
    """Raises `Invalid` for text that cannot be kept, anywhere in a decoded body. For routes whose own rules do not look for it."""
    try:
        faults = [Fault(pointer=place, detail=detail) for place, detail in _unusable(body)]
    except _TooLarge as error:
        faults = [Fault(pointer="", detail=str(error))]
    if faults:
        raise Invalid(faults[:MAX_FAULTS])


class _TooLarge(ValueError):
    """The body goes beyond what is worth looking at."""


def _unusable(body: object) -> Iterator[tuple[str, str]]:
    """Every place, key or value, that holds a character which cannot be stored or sent."""
    seen = 0
    waiting: list[tuple[tuple[str | int, ...], object]] = [((), body)]
    while waiting:
        place, value = waiting.pop()
        seen += 1
        if len(place) > MAX_DEPTH or seen > MAX_NODES:
            raise _TooLarge(f"The body is nested deeper than {MAX_DEPTH} levels or has more than {MAX_NODES} values.")
        if isinstance(value, str) and (found := unusable(value)):
            where = f"{found[0]} at position {found[1] + 1}"
            yield pointer(*place), f"This holds {where}. Take it out; only tab and line breaks may stay."
        elif isinstance(value, dict):
            for key in value:
                if isinstance(key, str) and (found := unusable(key)):
                    yield pointer(*place, key), f"This name holds {found[0]}. Take it out."
            waiting.extend(((*place, str(key)), inner) for key, inner in reversed(value.items()))
        elif isinstance(value, list):
            waiting.extend(((*place, index), inner) for index, inner in reversed(list(enumerate(value))))


def _place(loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    # pydantic marks a fault of a dictionary's key with a last "[key]".
    return loc[:-1] if len(loc) > 2 and loc[-1] == "[key]" else loc


def _detail(wrong: ErrorDetails) -> str:
    if wrong["type"] == "extra_forbidden":
        return _unknown(wrong["loc"])
    return _DETAILS.get(wrong["type"], wrong["msg"]).format_map(wrong.get("ctx", {}))


def _unknown(loc: tuple[str | int, ...]) -> str:
    word = str(loc[-1])
    known: Any = Fallback if loc[0] == "fallbacks" else Body
    if loc[0] == "input":
        known = Input if loc[:-1] == ("input",) else Shot if "shots" in loc else Camera
    if known is Body and word in Input.__annotations__:
        return f'"{word}" goes inside "input".'
    close = difflib.get_close_matches(word[:40].lower(), list(known.__annotations__), n=1, cutoff=0.6)
    if close:
        return f'There is no "{shown(word)}". Did you mean {close[0]}?'
    if known is Input:
        return f'There is no input word "{shown(word)}". A provider\'s own fields go in provider_options.'
    return f'There is no "{shown(word)}". Leave it out.'


def _cross(body: Mapping[object, object], event_types: Collection[str]) -> Iterator[tuple[str, str]]:
    """Rules between members, judged on the body as it came, so that they are told beside all other faults."""
    yield from _who(body, ())
    fallbacks = body.get("fallbacks")
    for index, fallback in enumerate(fallbacks[:MOST_FALLBACKS] if isinstance(fallbacks, list) else ()):
        if isinstance(fallback, dict):
            yield from _who(fallback, ("fallbacks", index))
    events = body.get("webhook_events")
    if events is not None and body.get("webhook_url") is None:
        yield "/webhook_events", "There is no webhook_url to send them to. Add one, or leave webhook_events out."
    for index, word in enumerate(events[:32] if isinstance(events, list) else ()):
        if isinstance(word, str) and word not in event_types:
            close = difflib.get_close_matches(word[:40], list(event_types), n=1, cutoff=0.8)
            hint = f"Did you mean {close[0]}?" if close else f"There are: {', '.join(event_types)}."
            yield pointer("webhook_events", index), f'There is no event type "{shown(word)}". {hint}'


def _who(body: Mapping[object, object], place: tuple[str | int, ...]) -> Iterator[tuple[str, str]]:
    if body.get("provider") is not None and body.get("account") is not None:
        detail = "Send provider or account, not both: an account already belongs to one provider."
        yield pointer(*place, "account"), detail
    elif body.get("provider") is None and body.get("account") is None:
        yield pointer(*place, "provider"), "Send provider (or account), to say who shall do it."


def _alternative(body: Fallback) -> Alternative:
    return Alternative(
        provider=body.get("provider"),
        account=body.get("account"),
        model=body["model"],
        provider_options=body.get("provider_options", {}),
    )


def _request(body: Body) -> TaskRequest:
    events = body.get("webhook_events")
    return TaskRequest(
        provider=body.get("provider"),
        account=body.get("account"),
        model=body["model"],
        input=cast(Mapping[str, object], body["input"]),
        provider_options=body.get("provider_options", {}),
        fallbacks=tuple(_alternative(one) for one in body.get("fallbacks", [])),
        metadata=body.get("metadata", {}),
        reference=body.get("reference"),
        webhook_url=body.get("webhook_url"),
        webhook_events=None if events is None else tuple(dict.fromkeys(events)),
        deadline_seconds=body.get("deadline_seconds", 7200),
    )
