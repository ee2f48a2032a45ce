"""A create in OpenAI's words becomes a body of POST /v1/tasks, and the faults of that body come back in OpenAI's words. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from service.compat.openai.sizes import NoSuchSize, words
from service.core.request import Body, Fault, Input, shown
from service.providers.base import Model, Provider

OURS: Final = frozenset(Body.__annotations__) - {"model", "input", "provider", "account"}
INPUT: Final = frozenset(Input.__annotations__)
# Where an image stands that came as bytes, until its provider has given it a URL.
TO_COME: Final = "https://upload.invalid/input_reference"

_DATA_URL = re.compile(r"data:image/[a-z+.-]{1,20};base64,([A-Za-z0-9+/=]+)", re.IGNORECASE)
_SECONDS = re.compile(r"[0-9]{1,6}", re.ASCII)
NO_MODEL = 'Send "provider/model", such as "cloudsway/kling-3.0-turbo". GET /openai/v1/models lists those there are.'
REFERENCE = (
    "Send an image file, its public URL, or an object with image_url (a URL, or the image as data:image/png;base64,…)."
)


@dataclass(slots=True)
class Order:
    """`body`: of POST /v1/tasks. `image`: bytes of an image that needs a URL first. `faults`: what no body could say.

    `renamed`: pointers into the body, and where in the request stands what they are about.
    """

    body: dict[str, object]
    faults: list[Fault] = field(default_factory=list)
    image: bytes | None = None
    renamed: dict[str, str] = field(default_factory=dict)

    def and_of_body(self, faults: Sequence[Fault]) -> list[Fault]:
        """All that is wrong, with each fault of the body at the place where its cause stands in the request."""
        told = {fault.pointer for fault in self.faults}
        theirs = [Fault(pointer=self._place(fault.pointer), detail=fault.detail) for fault in faults]
        return [*self.faults, *(fault for fault in theirs if fault.pointer not in told)]

    def _place(self, place: str) -> str:
        for ours, theirs in self.renamed.items():
            if place == ours or place.startswith(f"{ours}/"):
                return theirs + place.removeprefix(ours)
        return place.removeprefix("/input") if place.startswith("/input/") else place


def order_of(
    members: Mapping[str, object],
    file: bytes | None,
    *,
    providers: Mapping[str, Provider],
    accounts: Mapping[str, str],
) -> Order:
    """The order that a request is. `accounts`: their provider's name.

    What is stated in our own words wins over the SDK's parameter for the same, as its `extra_body` promises.
    """
    who, model, label = named(members, providers, accounts)
    order = Order(body=dict(who), image=file)
    order.renamed = {f"/{name}": "/model" for name in ("provider", "account") if name not in members}
    given: dict[str, object] = {}
    faults = order.faults
    for name, value in members.items():
        if name in INPUT:
            given[name] = value
        elif name in OURS:
            order.body[name] = value
        elif name not in ("model", "provider", "account", "seconds", "size", "input_reference"):
            order.body[name] = value  # there is none of that name: the check says so
    if "input" in members:
        faults.append(Fault(pointer="/input", detail="Send its words beside prompt, as they are."))
        del order.body["input"]
    if not who:
        faults.append(Fault(pointer="/model", detail=NO_MODEL))
    _length(members, given, order, faults)
    _reference(members, given, order, faults)
    _size(members, given, order, model, label, faults)
    order.body["input"] = given
    return order


def named(
    members: Mapping[str, object], providers: Mapping[str, Provider], accounts: Mapping[str, str]
) -> tuple[dict[str, object], Model | None, str]:
    """Who is asked for which model, as members of a body; the model, if there is one of that name; and how it is called."""
    stated = members.get("model")
    who = {name: members[name] for name in ("provider", "account") if members.get(name) is not None}
    if not isinstance(stated, str) or not stated:
        return {}, None, ""
    first, slash, rest = stated.partition("/")
    if not who and not slash:
        return {}, None, ""
    if not who:
        place = "account" if first in accounts and first not in providers else "provider"
        who, stated = {place: first}, rest
    provider = str(who.get("provider") or accounts.get(str(who.get("account")), ""))
    found = providers.get(provider)
    return {**who, "model": stated}, found.models.get(stated) if found is not None else None, f"{provider}/{stated}"


def _length(members: Mapping[str, object], given: dict[str, object], order: Order, faults: list[Fault]) -> None:
    """`seconds`: a number, which the SDKs send as text."""
    if members.get("seconds") is None or "duration" in given:
        return
    value = members["seconds"]
    if isinstance(value, str) and _SECONDS.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        detail = f'This must be a whole number of seconds, such as "5", not {shown(str(value))}.'
        faults.append(Fault(pointer="/seconds", detail=detail))
        return
    given["duration"] = value
    order.renamed["/input/duration"] = "/seconds"


def _reference(members: Mapping[str, object], given: dict[str, object], order: Order, faults: list[Fault]) -> None:
    """`input_reference`: a file, a URL, or an object that holds a URL or the image itself."""
    if "image" in given:
        order.image = None
        return
    value = members.get("input_reference")
    if isinstance(value, dict):
        if set(value) == {"file_id"}:
            detail = f"There are no stored files here, so no file_id. {REFERENCE}"
            faults.append(Fault(pointer="/input_reference/file_id", detail=detail))
            return
        value = value.get("image_url") if set(value) == {"image_url"} else value
    if value is not None and order.image is None:
        if isinstance(value, str) and value[:5].lower() == "data:":
            order.image = _bytes_of(value)
        if not isinstance(value, str) or not value or (value[:5].lower() == "data:" and order.image is None):
            faults.append(Fault(pointer="/input_reference", detail=REFERENCE))
            return
    if order.image is not None:
        given["image"] = TO_COME
    elif value is not None:
        given["image"] = value
    order.renamed["/input/image"] = "/input_reference"


def _bytes_of(url: str) -> bytes | None:
    found = _DATA_URL.fullmatch(url)
    try:
        return base64.b64decode(found[1], validate=True) if found is not None else None
    except (binascii.Error, ValueError):
        return None


def _size(
    members: Mapping[str, object],
    given: dict[str, object],
    order: Order,
    model: Model | None,
    label: str,
    faults: list[Fault],
) -> None:
    if members.get("size") is None or model is None:
        return  # of a model that there is not, the check says so
    try:
        found = words(members["size"], model, label, given)
    except NoSuchSize as error:
        faults.append(Fault(pointer="/size", detail=str(error)))
        return
    given.update(found)
    order.renamed.update({f"/input/{name}": "/size" for name in found})
