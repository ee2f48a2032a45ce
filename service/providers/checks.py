"""A request held against one contract: every limit in one place, every fault collected, so that a client hears of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar
from urllib.parse import urlsplit

from service.core.request import Fault, Invalid, TaskRequest, pointer, shown
from service.providers.base import Everyone, Model
from service.providers.limits import Kind, Limit

N = TypeVar("N", int, float)

SECONDS_DEFAULT = 5
ASPECT_RATIOS = ("16:9", "9:16", "1:1")


class Check:
    """Collects the faults of one request. Each method returns a value to go on with, faulty or not; `settle` raises."""

    def __init__(self, provider: str, models: Mapping[str, Model], request: TaskRequest, everyone: Everyone) -> None:
        self.given = request.input
        self.options = request.provider_options
        self.faults: list[Fault] = []
        self._everyone = everyone
        self.model = self._find(provider, models, request.model)
        self.label = f"{provider}/{self.model.name}"
        self._lacking()
        self._apart()
        self._options()

    def refuse(self, place: str | tuple[str | int, ...], detail: str) -> None:
        """Note a fault at a word of the input. The detail completes "<provider>/<model> …"."""
        parts = (place,) if isinstance(place, str) else place
        self.faults.append(Fault(pointer=pointer("input", *parts), detail=f"{self.label} {detail}"))

    def refuse_option(self, name: str, detail: str) -> None:
        """Note a fault at a native field. The detail completes "<provider>/<model> …"."""
        place = pointer("provider_options", name)
        self.faults.append(Fault(pointer=place, detail=f"{self.label} {detail}"))

    def settle(self) -> None:
        """Raise when there is any fault."""
        if self.faults:
            raise Invalid(self.faults)

    # Numbers that are left out are those of the model's own table, which is also what is published.

    def prompt(self, limit: int | None = None, *, required: bool | None = None) -> str | None:
        """The prompt as it came: counted in code points, neither trimmed nor normalised."""
        table = self.model.limits.get("prompt", PROMPT)
        limit = limit if limit is not None else _known(table.most)
        if required is None:
            required = table.required and not any(name in self.given for name in table.unless)
        value = self.given.get("prompt")
        if not isinstance(value, str):
            if required:
                self.refuse("prompt", "needs a prompt.")
            return None
        self._told("prompt", value, limit)
        return value

    def text(self, name: str) -> str | None:
        """A text beside the prompt. It may be blank."""
        value, limit = self.given.get(name), self.model.limits.get(name, ANYTHING)
        if isinstance(value, str) and limit.most is not None:
            self._length(name, value, limit.most)
        return value if isinstance(value, str) else None

    def number(self, name: str) -> int | float | None:
        """A number within its bounds."""
        value, limit = self.given.get(name), self.model.limits.get(name)
        if value is not None and limit is not None and (wanted := unfit(value, limit)):
            self.refuse(name, f"takes {wanted} for {name}.")
        return value if isinstance(value, int | float) else None

    def seconds(self, low: int | None = None, high: int | None = None, default: int = SECONDS_DEFAULT) -> int:
        """The duration, from `low` to `high` whole seconds."""
        table = self.model.limits.get("duration", ANYTHING)
        low = low if low is not None else int(_known(table.low))
        high = high if high is not None else int(_known(table.high))
        value = self.given.get("duration", default)
        if not isinstance(value, int) or not low <= value <= high:
            self.refuse("duration", f"makes {low} to {high} seconds, not {shown(str(value))}.")
            return default
        return value

    def seconds_of(self, allowed: Sequence[int] | None = None, default: int = SECONDS_DEFAULT) -> int:
        """The duration, one of few."""
        if allowed is None:
            stated = self.model.limits.get("duration", ANYTHING).allowed
            allowed = [value for value in stated if isinstance(value, int)]
        value = self.given.get("duration", default)
        if value not in allowed or not isinstance(value, int):
            self.refuse("duration", f"makes {_either(allowed)} seconds, not {shown(str(value))}.")
            return default
        return value

    def choice(self, name: str, allowed: Sequence[str], default: str | None = None) -> str | None:
        """One word of a closed set."""
        value = self.given.get(name, default)
        if value is not None and value not in allowed:
            self.refuse(name, f'has no {name} "{shown(str(value))}". It has {" and ".join(allowed)}.')
            return default
        return value if isinstance(value, str) else None

    def level(self, levels: Mapping[str, str], synonym: str) -> tuple[str, str]:
        """Our quality and the contract's own word for it, whichever of the two was given."""
        quality = self.choice("quality", tuple(levels))
        native = self.choice(synonym, tuple(levels.values()))
        if quality is None and native is not None:
            quality = next(ours for ours, theirs in levels.items() if theirs == native)
        quality = quality or next(iter(levels))
        if native is not None and native != levels[quality]:
            self.refuse(
                synonym, f"cannot do both: quality {quality} is {synonym} {levels[quality]} here. Send one of them."
            )
        return quality, levels[quality]

    def flag(self, name: str, default: bool) -> bool:
        """A yes or no."""
        return bool(self.given.get(name, default))

    def url(self, name: str) -> str | None:
        """A link that the provider will fetch."""
        value = self.given.get(name)
        return self._link((name,), value) if value is not None else None

    def urls(self, name: str, limit: int | None = None) -> list[str]:
        """Links that the provider will fetch."""
        values = self.given.get(name)
        if name not in self.model.inputs or not isinstance(values, list):
            return []
        limit = limit if limit is not None else _known(self.model.limits[name].most)
        if len(values) > limit:
            self.refuse(name, f"takes at most {limit} {name}, not {len(values)}.")
        return [link for index, value in enumerate(values) if (link := self._link((name, index), value))]

    def shots(self, limit: int | None = None, each: int | None = None) -> list[dict[str, object]]:
        """The parts of a video in several shots, each of at least a second."""
        if "shots" not in self.model.inputs:
            return []  # noted already, by name
        table = self.model.limits.get("shots", ANYTHING)
        limit = limit if limit is not None else _known(table.most)
        each = each if each is not None else _known(table.each)
        values = self.given.get("shots", [])
        shots = [shot for shot in values if isinstance(shot, dict)] if isinstance(values, list) else []
        if len(shots) > limit:
            self.refuse("shots", f"takes at most {limit} shots, not {len(shots)}.")
        for index, shot in enumerate(shots):
            self._told(("shots", index, "prompt"), str(shot.get("prompt", "")), each)
            if not isinstance(shot.get("duration"), int) or shot["duration"] < 1:
                self.refuse(("shots", index, "duration"), "needs at least 1 second for a shot.")
        return shots

    def _find(self, provider: str, models: Mapping[str, Model], name: str) -> Model:
        if name in models:
            return models[name]
        owners = [
            other for other, contract in self._everyone().items() if name in contract.models and other != provider
        ]
        detail = f'{provider} has no "{shown(name)}". It has {", ".join(models)}'
        detail += f"; {name} is {owners[0]}'s." if owners else "."
        raise Invalid([Fault(pointer="/model", detail=detail)])

    def _apart(self) -> None:
        for rule in self.model.apart:
            if rule.word in self.given and any(other in self.given for other in rule.others):
                self.refuse(rule.word, rule.why)

    def _lacking(self) -> None:
        for name in self.given:
            if name not in self.model.inputs:
                self.refuse(name, f"has no {shown(name)}.{self._who_has(name)} Leave it out.")

    def _who_has(self, name: str) -> str:
        """One model of each contract that takes the word: enough to go on with, however many models there are."""
        able = [
            (provider, [model.name for model in contract.models.values() if name in model.inputs])
            for provider, contract in self._everyone().items()
        ]
        others = [f"{provider}/{models[0]}" for provider, models in able if models]
        return f" {_listed(others)} {'has' if len(others) == 1 else 'have'} it." if others else ""

    def _options(self) -> None:
        for name in self.options:
            if name not in self.model.options:
                takes = f"It takes {_listed(sorted(self.model.options))}." if self.model.options else "It takes none."
                self.refuse_option(name, f'takes no provider option "{shown(name)}". {takes} Leave it out.')
            elif name in self.model.native and (wanted := unfit(self.options[name], self.model.native[name])):
                self.refuse_option(name, f"takes {wanted} for {name}.")

    def _length(self, place: str | tuple[str | int, ...], value: str, limit: int) -> None:
        if len(value) > limit:
            self.refuse(
                place, f"takes at most {limit} characters here, not {len(value)}. Shorten it by {len(value) - limit}."
            )

    def _told(self, place: str | tuple[str | int, ...], value: str, limit: int) -> None:
        """A prompt: not blank, not too long."""
        if not value.strip():
            self.refuse(place, "needs a prompt that is not blank.")
        else:
            self._length(place, value, limit)

    def _link(self, place: tuple[str | int, ...], value: object) -> str | None:
        if not is_link(value):
            self.refuse(place, "fetches the image itself. Send its public http or https URL.")
            return None
        return str(value)


ANYTHING = Limit(kind=Kind.TEXT)
PROMPT = Limit(kind=Kind.TEXT, required=True)


def _known(number: N | None) -> N:
    """A number that the contract's table must hold: without it the contract itself is wrong, and no request was made."""
    if number is None:
        raise LookupError("the model's table has no such limit")
    return number


def unfit(value: object, limit: Limit) -> str | None:
    """What a native field takes instead of this value; None where it fits."""
    if limit.allowed:
        return None if value in limit.allowed else _listed([str(word) for word in limit.allowed])
    match limit.kind:
        case Kind.FLAG:
            return None if isinstance(value, bool) else "true or false"
        case Kind.WHOLE | Kind.NUMBER:
            right = int if limit.kind is Kind.WHOLE else int | float
            fits = isinstance(value, right) and not isinstance(value, bool)
            low, high = limit.low, limit.high
            fits = fits and (low is None or low <= value) and (high is None or value <= high)  # type: ignore[operator]
            sort = "a whole number" if limit.kind is Kind.WHOLE else "a number"
            return None if fits else f"{sort} from {low} to {high}"
        case Kind.LINK:
            return None if is_link(value) else "a public http or https URL"
        case _:
            fits = isinstance(value, str) and len(value) <= (limit.most or len(value))
            return None if fits else f"at most {limit.most} characters"


def is_link(value: object) -> bool:
    """Whether a provider can fetch it: an http or https URL with a host."""
    try:
        parts = urlsplit(value) if isinstance(value, str) and value.isprintable() and " " not in value else None
        return parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _either(numbers: Sequence[int]) -> str:
    return " or ".join(str(number) for number in numbers)


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
