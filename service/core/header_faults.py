"""What is wrong with the three headers of a message: gone, there twice, or changed on the way."""

from __future__ import annotations

from collections.abc import Mapping

from service.core import misreadings, signature
from service.core.evidence import Diagnosis, Evidence, message_of
from service.core.signature import NAMES, Keys


def missing(evidence: Evidence, stated: Mapping[str, str]) -> Diagnosis:
    lost = [name for name in NAMES if not stated.get(name)]
    text = f"{', '.join(lost)} {'is' if len(lost) == 1 else 'are'} missing."
    for name, _ in evidence.headers:
        if (standard := misreadings.renamed(name)) in lost:
            fix = f"It arrives as {name}: a framework or proxy renamed it. Give your verifier {standard}."
            return Diagnosis(verdict="missing_header", text=text, fix=fix)
    fix = "Something in front of the receiver drops it, or the request is not from taskrelay. Let webhook-* headers through."
    return Diagnosis(verdict="missing_header", text=text, fix=fix)


def duplicate(evidence: Evidence) -> Diagnosis:
    """Which of the values is ours, when one is."""
    keys, given = signature.usable(evidence.secrets), [(name.lower(), value) for name, value in evidence.headers]
    values = {name: list(dict.fromkeys(value for had, value in given if had == name)) for name in NAMES}
    twice = [name for name in NAMES if len(values[name]) > 1]
    text = f"{', '.join(twice)} {'comes' if len(twice) == 1 else 'come'} more than once, with different values."
    for pick in range(max(map(len, values.values()))):
        chosen = {name: found[min(pick, len(found) - 1)] for name, found in values.items() if found}
        message = message_of(chosen, evidence.body) if len(chosen) == len(NAMES) else None
        if message is not None and message.fits(keys):
            text += f" Number {pick + 1} is ours: the signature matches with it."
            break
    fix = "Something between adds headers of its own: stop it. A verifier must refuse such a request, whichever value it would read."
    return Diagnosis(verdict="duplicate_header", text=text, fix=fix)


def unreadable(evidence: Evidence, stated: Mapping[str, str]) -> Diagnosis:
    found = mangled(evidence, signature.usable(evidence.secrets), stated)
    if found is not None:
        return found
    wrong = [
        name
        for name, form in (("webhook-id", signature.ID), ("webhook-timestamp", signature.TIMESTAMP))
        if not form.fullmatch(stated[name])
    ]
    text = f"{' and '.join(wrong or ['webhook-signature'])} cannot be read."
    fix = "It looks like webhook-id: evt_…, webhook-timestamp: 1795214122, webhook-signature: v1,<44 characters of base64>."
    return Diagnosis(verdict="malformed_header", text=text, fix=fix)


def mangled(evidence: Evidence, keys: Keys, stated: Mapping[str, str]) -> Diagnosis | None:
    """A header that fits once it is mended."""
    for told, mended in misreadings.repairs(stated):
        candidate = message_of(mended, evidence.body)
        if candidate is not None and candidate.fits(keys):
            fix = "The rest is right. Find what changes this header between taskrelay and your verifier, or pass it as it came."
            return Diagnosis(verdict="malformed_header", text=f"{told}. Mended, the signature matches.", fix=fix)
    return None
