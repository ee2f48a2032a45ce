"""The body of a subscription, and of a change to one: each member typed, bounded, and as it is stored."""

from __future__ import annotations

import base64
import difflib
import re
from collections.abc import Callable, Collection, Mapping

import orjson

from service.api.context import Context
from service.core import extra_headers, filters, signature
from service.core.events import ENDS, EventType
from service.core.keys import NONCE_BYTES
from service.core.request import Fault, Invalid, pointer, shown
from service.core.times import DAY, SECOND, iso, parse_iso
from service.net.guard import Blocked
from service.pipeline.orders import HEADERS, V1, V1A
from storage.records import EndpointFormat

SUBSCRIPTIONS = (*(type.value for type in EventType), "task.*", "account.*", "endpoint.*", "*")
IN_FLIGHT_DEFAULT, IN_FLIGHT_MOST = 8, 64
RATE_MOST = 1000
RETRIES_MOST, RETRY_LONGEST, RETRIES_IN_ALL = 20, 86_400, 14 * 86_400
LEASE_LONGEST = 3660 * DAY
# Standard, padded base64: some verifiers refuse or misread anything else, and a signature they cannot check is worthless.
SECRET = re.compile(r"whsec_((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)")
SECRET_LEAST, SECRET_MOST = 24, 64

Faults = list[Fault]
Read = Callable[[object, Context, Faults], object]


def settings_of(
    body: object, context: Context, *, besides: Collection[str] = (), needed: Collection[str] = ()
) -> dict[str, object]:
    """The columns that a body sets, for those members it has; `null` is the default. Raises `Invalid` with every fault.

    `besides`: further members, read elsewhere and given back as they are.
    """
    if not isinstance(body, dict):
        raise Invalid([Fault(pointer="", detail="This must be an object.")])
    faults: Faults = []
    known = [*MEMBERS, *besides]
    found: dict[str, object] = {}
    for name, value in body.items():
        if name in MEMBERS:
            found[name] = MEMBERS[name](value, context, faults)
        elif name in besides:
            found[name] = value
        else:
            close = difflib.get_close_matches(name[:40].lower(), known, n=1)
            hint = f"Did you mean {close[0]}?" if close else "Leave it out."
            faults.append(Fault(pointer=pointer(name), detail=f'There is no "{shown(name)}". {hint}'))
    faults += [Fault(pointer=pointer(name), detail="This is required.") for name in needed if name not in body]
    if "secret" in found:
        found["secret"] = read_secret(found["secret"], context, faults)
    if faults:
        raise Invalid(faults)
    return found


def _url(value: object, context: Context, faults: Faults) -> str:
    if not isinstance(value, str):
        detail = "This is required." if value is None else "This must be text, in quotes."
        faults.append(Fault(pointer="/url", detail=detail))
        return ""
    try:
        context.policy.judge_url(value)
    except Blocked as blocked:
        faults.append(Fault(pointer="/url", detail=blocked.reason))
    return value


def _events(value: object, context: Context, faults: Faults) -> str | None:
    """The types subscribed to; None: the ends."""
    if value is None:
        return None
    if not isinstance(value, list) or not 1 <= len(value) <= 2 * len(SUBSCRIPTIONS):
        detail = "This must be a list of event types. Leave it out to get the ends: " + ", ".join(sorted(ENDS))
        faults.append(Fault(pointer="/events", detail=detail))
        return None
    for index, type in enumerate(value):
        if not isinstance(type, str):
            faults.append(Fault(pointer=pointer("events", index), detail="This must be text, in quotes."))
        elif type not in SUBSCRIPTIONS:
            # The shared "task." alone is half of any two types, so only a slip of the pen is close.
            close = difflib.get_close_matches(type[:40], SUBSCRIPTIONS, n=1, cutoff=0.8)
            hint = f"Did you mean {close[0]}?" if close else f"There is {', '.join(SUBSCRIPTIONS)}."
            detail = f'There is no event type "{shown(type)}". {hint}'
            faults.append(Fault(pointer=pointer("events", index), detail=detail))
    return ",".join(dict.fromkeys(type for type in value if isinstance(type, str)))


def _description(value: object, context: Context, faults: Faults) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.isprintable() or len(value) > 500:
        faults.append(
            Fault(pointer="/description", detail="This must be at most 500 printable characters on one line.")
        )
        return None
    return value


def _whole(name: str, default: int | None, most: int) -> Read:
    def read(value: object, context: Context, faults: Faults) -> int | None:
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            faults.append(Fault(pointer=pointer(name), detail=f"This must be a whole number from 1 to {most}."))
            return default
        return value

    return read


def _format(value: object, context: Context, faults: Faults) -> EndpointFormat:
    words = [word.value for word in EndpointFormat]
    if value is not None and value not in words:
        faults.append(Fault(pointer="/format", detail=f"This must be one of {', '.join(words)}."))
        return EndpointFormat.STANDARD
    return EndpointFormat(str(value)) if value is not None else EndpointFormat.STANDARD


def _signatures(value: object, context: Context, faults: Faults) -> str:
    """What its events are signed with, v1 before v1a however it was said."""
    if value is None:
        return V1
    if not isinstance(value, list) or not value or not all(one in (V1, V1A) for one in value):
        detail = 'This must be ["v1"], ["v1a"] or ["v1", "v1a"]: HMAC with the endpoint\'s secret, Ed25519 with the project\'s signing key.'
        faults.append(Fault(pointer="/signatures", detail=detail))
        return V1
    return ",".join(sorted(set(value)))


def _filter(value: object, context: Context, faults: Faults) -> str | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        faults.append(Fault(pointer="/filter", detail="This must be an object with provider, model or metadata."))
        return None
    for name in value:
        if name not in ("provider", "model", "metadata"):
            detail = f'There is no "{shown(name)}". There is provider, model, metadata.'
            faults.append(Fault(pointer=pointer("filter", name), detail=detail))
    metadata = {} if value.get("metadata") is None else value["metadata"]
    for name in metadata if isinstance(metadata, dict) else ():
        if not (1 <= len(name) <= filters.LONGEST and name.isprintable()):
            detail = f"A name holds 1 to {filters.LONGEST} characters, printable ones only."
            faults.append(Fault(pointer=pointer("filter", "metadata", name[: filters.LONGEST]), detail=detail))
    if not isinstance(metadata, dict) or len(metadata) > filters.NAMES:
        detail = f"This must be an object of at most {filters.NAMES} names, each with a pattern or a list of them."
        faults.append(Fault(pointer="/filter/metadata", detail=detail))
        metadata = {}
    return filters.dump(
        _patterns(value.get("provider"), ("filter", "provider"), faults),
        _patterns(value.get("model"), ("filter", "model"), faults),
        {str(name): _patterns(one, ("filter", "metadata", str(name)), faults) for name, one in metadata.items()},
    )


def _patterns(value: object, place: tuple[str, ...], faults: Faults) -> list[str]:
    """One pattern or several; `*` stands for any text."""
    if value is None and place[1] != "metadata":
        return []
    listed = value if isinstance(value, list) else [value]
    sound = all(isinstance(one, str) and 1 <= len(one) <= filters.LONGEST and one.isprintable() for one in listed)
    if not sound or not 1 <= len(listed) <= filters.PATTERNS:
        detail = f"This must be text, or a list of at most {filters.PATTERNS}; * stands for anything."
        faults.append(Fault(pointer=pointer(*place), detail=detail))
        return []
    return [str(one) for one in listed]


def _headers(value: object, context: Context, faults: Faults) -> str | None:
    """Sealed: they may hold the receiver's credentials."""
    if value is None or value == {}:
        return None
    if not isinstance(value, dict) or len(value) > extra_headers.MOST:
        detail = f"This must be an object of at most {extra_headers.MOST} names and values."
        faults.append(Fault(pointer="/headers", detail=detail))
        return None
    told = [(name, extra_headers.fault(name, text)) for name, text in value.items()]
    faults += [Fault(pointer=pointer("headers", name[:100]), detail=detail) for name, detail in told if detail]
    if any(detail for _, detail in told):
        return None
    lower = {name.lower(): str(text) for name, text in value.items()}
    if len(lower) < len(value):
        faults.append(Fault(pointer="/headers", detail="Two of the names differ in case only. Give each once."))
    if sum(len(name) + len(text) for name, text in lower.items()) > extra_headers.TOTAL:
        faults.append(Fault(pointer="/headers", detail=f"Together these are over {extra_headers.TOTAL} bytes."))
    return context.keyring.seal(orjson.dumps(lower).decode(), purpose=HEADERS, nonce=context.entropy(NONCE_BYTES))


def _schedule(value: object, context: Context, faults: Faults) -> str | None:
    if value is None:
        return None
    sound = isinstance(value, list) and 1 <= len(value) <= RETRIES_MOST
    sound = sound and all(
        type(one) is int and 1 <= one <= RETRY_LONGEST
        for one in value  # type: ignore[attr-defined]
    )
    if not sound or sum(value) > RETRIES_IN_ALL:  # type: ignore[call-overload]
        detail = (
            f"This must be a list of 1 to {RETRIES_MOST} whole numbers of seconds, each 1 to {RETRY_LONGEST}: "
            "the waits before the second attempt, the third and so on, 14 days together at most."
        )
        faults.append(Fault(pointer="/retry_schedule", detail=detail))
        return None
    return orjson.dumps(value).decode()


def _expires_at(value: object, context: Context, faults: Faults) -> int | None:
    if value is None:
        return None
    now = context.clock()
    at = parse_iso(value) if isinstance(value, str) and len(value) <= 64 else None
    if at is None or not now < at <= now + LEASE_LONGEST:
        detail = f"This must be an instant to come, within ten years, such as {iso(now + 30 * DAY - now % SECOND)}."
        faults.append(Fault(pointer="/expires_at", detail=detail))
        return None
    return at


def read_secret(value: object, context: Context, faults: Faults) -> str:
    """The client's own secret, or a new one."""
    if value is None:
        return signature.new_secret(context.entropy(signature.SECRET_BYTES))
    found = SECRET.fullmatch(value) if isinstance(value, str) and len(value) <= 200 else None
    if found is None or not SECRET_LEAST <= len(base64.b64decode(found[1])) <= SECRET_MOST:
        detail = f'This must be "whsec_" and standard base64 of {SECRET_LEAST} to {SECRET_MOST} random bytes. '
        faults.append(Fault(pointer="/secret", detail=detail + "Leave it out to get one made."))
        return ""
    return str(value)


# Each is named as the column it sets.
MEMBERS: Mapping[str, Read] = {
    "url": _url,
    "events": _events,
    "description": _description,
    "filter": _filter,
    "format": _format,
    "signatures": _signatures,
    "headers": _headers,
    "max_in_flight": _whole("max_in_flight", IN_FLIGHT_DEFAULT, IN_FLIGHT_MOST),
    "rate_limit": _whole("rate_limit", None, RATE_MOST),
    "retry_schedule": _schedule,
    "expires_at": _expires_at,
}
