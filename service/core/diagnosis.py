"""Why a signature does not verify: one verdict, in words, with what to do.

From what was received, the secret the receiver uses and, where they are known, the bytes that were sent. It tries the
usual mistakes one after another and names the first after which the signature fits: whatever fits cannot be chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from service.core import bodies, header_faults, misreadings, signature
from service.core.evidence import Diagnosis, Evidence, Message, message_of, span
from service.core.signature import BadSecret, Keys
from service.core.signing_keys import PRIVATE_PREFIX, PUBLIC_PREFIX, BadKey, read_public
from service.core.times import SECOND

NEAR_SECONDS: Final = 1800  # how far around the stated instant another attempt's is looked for

RAW: Final = "Pass the raw bytes of the request, before anything parses them (Express: express.raw; FastAPI: await request.body())."
COPY: Final = (
    "Read it with GET /v1/endpoints/{id}/secret (of a task's own webhook_url: GET /v1/projects/current/secret)."
)
CLOCK: Final = "If it was received just now, set the receiver's clock (NTP). If it was stored, say when it came: --at 2026-11-20T21:10:00Z."


def diagnose(evidence: Evidence) -> Diagnosis:
    """The first explanation that fits. Total: whatever was received, it returns."""
    stated, fault = signature.read_headers(evidence.headers)
    if fault == "duplicate_header":
        return header_faults.duplicate(evidence)
    if fault is not None:
        return header_faults.missing(evidence, stated)
    if (bad := _bad_secret(evidence.secrets)) is not None:
        return bad
    message = message_of(stated, evidence.body)
    if message is None or not message.offered:
        return header_faults.unreadable(evidence, stated)
    keys = signature.usable(evidence.secrets[:1])
    if message.fits(keys):
        return _in_time(evidence, int(stated["webhook-timestamp"]))
    return (
        _other_secret(evidence, message, keys)
        or _misread_secret(evidence, message)
        or _other_bytes(evidence, message)
        or header_faults.mangled(evidence, keys, stated)
        or _other_attempt(evidence, message, keys)
        or _other_id(evidence, message, keys)
        or _unexplained(evidence, message, keys)
    )


def _in_time(evidence: Evidence, stamp: int) -> Diagnosis:
    age = evidence.now // SECOND - stamp
    if abs(age) <= evidence.tolerance_seconds:
        return Diagnosis(verdict="ok", text="The signature matches.", ok=True)
    told = f"The signature matches, but the message is {span(abs(age))} "
    allowed = f"; {span(evidence.tolerance_seconds)} are allowed."
    if age > 0:
        return Diagnosis(verdict="too_old", text=f"{told}old{allowed}", fix=CLOCK)
    return Diagnosis(verdict="too_new", text=f"{told}from the future{allowed}", fix=CLOCK)


def _bad_secret(secrets: Sequence[str]) -> Diagnosis | None:
    """What is wrong with the secret in use before anything is compared with it."""
    if not secrets or not secrets[0].strip():
        return Diagnosis(verdict="bad_secret", text="There is no secret to verify with.", fix=COPY)
    text = secrets[0].strip()
    if text.startswith("trk_"):
        return Diagnosis(verdict="bad_secret", text="This is an API key, not the secret of an endpoint.", fix=COPY)
    if text.startswith(PRIVATE_PREFIX):
        fix = "Nobody but the signer may have it. Verify with the public key, whpk_…: GET /v1/signing-keys."
        return Diagnosis(verdict="bad_secret", text="This is the private half of a signing key.", fix=fix)
    if text.startswith(PUBLIC_PREFIX):
        try:
            read_public(text)
        except BadKey as error:
            return Diagnosis(verdict="bad_secret", text=_sentence(error), fix="Copy it from GET /v1/signing-keys.")
    return None


def _other_secret(evidence: Evidence, message: Message, keys: Keys) -> Diagnosis | None:
    """Another secret of the receiver's, or the one that taskrelay has."""
    for number, secret in enumerate(evidence.secrets[1:], start=2):
        if message.fits(signature.usable([secret])):
            text = f"The signature does not match the secret in use, but matches secret {number} of those given: an older one."
            fix = "Verify with every secret that may still sign, or rotate again and take over the new one within the overlap."
            return Diagnosis(verdict="older_secret", text=text, fix=fix)
    if message.fits(signature.usable(evidence.endpoint)):
        text = "The signature does not match your secret, but matches what signs for this endpoint now: yours is older, or another's."
        return Diagnosis(verdict="wrong_secret", text=text, fix=COPY)
    if keys.v1 and not keys.v1a and message.offered.v1a and not message.offered.v1:
        text = "The message is signed with v1a (Ed25519) alone, and this is a secret of v1."
        fix = 'Verify with a public key, whpk_…, of GET /v1/signing-keys, or PATCH the endpoint: {"signatures": ["v1", "v1a"]}.'
        return Diagnosis(verdict="wrong_scheme", text=text, fix=fix)
    if keys.v1a and not keys.v1 and message.offered.v1 and not message.offered.v1a:
        text = "The message is signed with v1 (HMAC) alone, and this is a public key of v1a."
        fix = 'Verify with the endpoint\'s secret, whsec_…, or PATCH the endpoint: {"signatures": ["v1", "v1a"]}.'
        return Diagnosis(verdict="wrong_scheme", text=text, fix=fix)
    return None


def _misread_secret(evidence: Evidence, message: Message) -> Diagnosis | None:
    """The right secret in a wrong form."""
    for told, key in misreadings.keys_of(evidence.secrets[0]):
        if message.fits(Keys(v1=[key])):
            fix = "Give the secret as it was shown: whsec_ and base64. The key is what that base64 decodes to, once."
            return Diagnosis(verdict="misread_secret", text=f"The signature matches when {told}.", fix=fix)
    return None


def _other_bytes(evidence: Evidence, message: Message) -> Diagnosis | None:
    """Bytes that fit: what was sent, or what this body was before somebody wrote it anew."""
    known = signature.usable([*evidence.secrets, *evidence.endpoint])
    for original in (*evidence.sent.values(), *dict.fromkeys(bodies.readings(message.body))):
        if original == message.body or not replace(message, body=original).fits(known):
            continue
        how = bodies.difference(message.body, original)
        if how.startswith(("says the same", "has other", "begins with")):
            text = f"The signature does not match, but matches the body re-encoded: your framework parsed it first. The body {how}."
            return Diagnosis(verdict="reencoded_body", text=text, fix=RAW)
        text = f"The signature does not match these bytes, but those that were sent: the body {how}."
        return Diagnosis(verdict="changed_body", text=text, fix=RAW)
    return None


def _other_attempt(evidence: Evidence, message: Message, keys: Keys) -> Diagnosis | None:
    """Another instant: of another attempt, or of the receiver's own clock."""
    stamp = int(message.timestamp)
    near = (stamp + sign * step for step in range(1, NEAR_SECONDS + 1) for sign in (-1, 1))
    for other in dict.fromkeys([*(at // SECOND for at in evidence.attempts_at), *near]):
        if other >= 0 and other != stamp and replace(message, timestamp=str(other)).fits(keys):
            by = f"{span(abs(stamp - other))} {'later' if stamp > other else 'earlier'}"
            text = f"The signature is that of timestamp {other}; webhook-timestamp says {stamp}, {by}."
            fix = "Take all three headers from one request, and no clock of your own: each attempt has its own timestamp and signature."
            return Diagnosis(verdict="other_attempt", text=text, fix=fix)
    return None


def _other_id(evidence: Evidence, message: Message, keys: Keys) -> Diagnosis | None:
    """The id that stands in the body."""
    for body in (message.body, *evidence.sent.values()):
        try:
            value = bodies.load(body)
        except bodies.Unreadable:
            continue
        id = value.get("id") if isinstance(value, dict) else None
        if isinstance(id, str) and id != message.id and replace(message, id=id).fits(keys):
            text = f"The signature is that of {id[:80]}; webhook-id says {message.id[:80]}."
            return Diagnosis(verdict="other_id", text=text, fix="Pass webhook-id as it came with this very request.")
    return None


def _unexplained(evidence: Evidence, message: Message, keys: Keys) -> Diagnosis:
    """No mistake that we know of explains it; what can be ruled out is said."""
    if message.body in evidence.sent.values():
        text = "The signature does not match, though the body is what was sent: the secret is another one, or a header was changed."
        return Diagnosis(verdict="wrong_secret", text=text, fix=COPY)
    for sent in evidence.sent.values():
        how = bodies.difference(message.body, sent)
        text = f"The signature does not match. Compared with what was sent, the body {how}; and the secret may be another one too."
        return Diagnosis(verdict="changed_body", text=text, fix=f"{RAW} {COPY}")
    if not message.body:
        text = "The signature does not match, and the body is empty: something had read it before."
        return Diagnosis(verdict="changed_body", text=text, fix=RAW)
    if bodies.alphabetical(message.body):
        text = "The signature does not match, and the body's members stand in alphabetical order, as ours never do: something parsed it."
        return Diagnosis(verdict="reencoded_body", text=text, fix=RAW)
    if not keys:
        text = _unreadable(evidence.secrets[0])
        return Diagnosis(verdict="bad_secret", text=text, fix=COPY)
    text = "The signature does not match: the secret is another one, or the body was changed in a way this does not recognise."
    fix = f"{COPY} To have the body compared with what was sent, add --delivery dlv_… or --event evt_…"
    return Diagnosis(verdict="mismatch", text=text, fix=fix)


def _unreadable(secret: str) -> str:
    try:
        signature.decode_secret(secret)
    except BadSecret as error:
        return _sentence(error)
    return "The secret cannot be used."


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:]
