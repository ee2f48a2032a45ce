"""Standard Webhooks: how our events are signed and how a signed message is judged.

Signed text: `id.timestamp.body` over the raw bytes. `webhook-signature` holds one `v1,<base64>` (HMAC-SHA256) per live
secret and one `v1a,<base64>` (Ed25519) per live signing key, separated by spaces.
https://github.com/standard-webhooks/standard-webhooks, 1.0.0
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hmac import compare_digest, digest
from typing import Final, TypeAlias

from service.core.signing_keys import (
    PRIVATE_PREFIX,
    PUBLIC_PREFIX,
    SIGNATURE_BYTES,
    BadKey,
    Signer,
    fits,
    read_public,
)

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 24  # 24 and 48 need no base64 padding, which openai-python refuses to do without
MIN_KEY_BYTES: Final = 16  # ours have 24; a provider's may be shorter than the 24 to 64 that the specification advises
MAX_KEY_BYTES: Final = 256
MAX_SIGNATURES: Final = 32  # rotation needs two; each costs a comparison per secret
DIGEST_BYTES: Final = 32
TOLERANCE_SECONDS: Final = 300

ID: Final = re.compile(r"[!-\-/-~]{1,256}")  # printable ASCII without ".", which would make the signed text ambiguous
TIMESTAMP: Final = re.compile(r"0|[1-9][0-9]{0,11}")
NAMES: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")

Headers: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]] | Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Keys:
    """What verifies, or what is to be verified, of each version."""

    v1: list[bytes] = field(default_factory=list)
    v1a: list[bytes] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.v1 or self.v1a)


class BadSecret(ValueError):
    """The text is not a signing secret. The message never repeats it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a verification. `id`: the `webhook-id`, given only when a signature covers it.

    `reason`: None when ok, else missing_header, duplicate_header, malformed_header, no_secret, mismatch, too_old or
    too_new.
    """

    ok: bool
    reason: str | None = None
    id: str | None = None


def new_secret(entropy24: bytes) -> str:
    """A signing secret as subscribers see it: `whsec_` and 32 characters of standard base64."""
    if len(entropy24) != SECRET_BYTES:
        raise ValueError(f"a signing secret takes {SECRET_BYTES} random bytes, not {len(entropy24)}")
    return PREFIX + base64.b64encode(entropy24).decode("ascii")


def decode_secret(text: str) -> bytes:
    """The key inside a secret: with or without `whsec_`, padded or not, standard or URL-safe alphabet.

    Raises `BadSecret`, also for a key of v1a: its text is base64 too, and would verify nothing without a word.
    """
    if text.strip().startswith((PUBLIC_PREFIX, PRIVATE_PREFIX)):
        raise BadSecret('this is a key of v1a (Ed25519) and no signing secret, which begins with "whsec_".')
    bare = text.strip().removeprefix(PREFIX).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        key = base64.b64decode(bare.encode("ascii") + b"=" * (-len(bare) % 4), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise BadSecret('the signing secret is not base64. Copy it whole, as "whsec_" and what follows it.') from None
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise BadSecret(
            f"the signing secret holds {len(key)} bytes; it must hold {MIN_KEY_BYTES} to {MAX_KEY_BYTES}, better 24 to 64."
        )
    return key


def sign(keys: Sequence[bytes], id: str, timestamp: int, body: bytes, signers: Sequence[Signer] = ()) -> str:
    """The `webhook-signature` of one attempt: one signature per key, v1 before v1a, each in the order given (newest first).

    `timestamp` is this attempt's in seconds, not the event's: receivers reject old ones.
    """
    if not keys and not signers:
        raise ValueError("nothing to sign with: the endpoint has no secret")
    if "." in id:
        raise ValueError(f'the id {id!r} contains ".", which separates the parts of the signed text')
    content = f"{id}.{timestamp}.".encode() + body
    if len(keys) == 1 and not signers:
        return f"v1,{in_base64(digest(keys[0], content, 'sha256'))}"
    made = [f"v1,{in_base64(digest(key, content, 'sha256'))}" for key in keys]
    made += [f"v1a,{in_base64(signer.sign(content))}" for signer in signers]
    return " ".join(made)


def in_base64(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode("ascii")


def verify(
    headers: Headers,
    body: bytes,
    secrets: Sequence[str | bytes],
    now: int,
    tolerance_seconds: int = TOLERANCE_SECONDS,
) -> Verdict:
    """Whether the raw `body` was signed with one of the `secrets` close to `now` (µs). Total: never raises.

    Secrets are texts as configured (`whsec_`, or `whpk_` for v1a), or keys of v1 already decoded; ones that cannot be
    read are passed over. Every signature is compared with every secret, so time tells nothing about which of them fits.
    """
    stated, reason = read_headers(headers)
    if reason is not None or not isinstance(body, bytes):
        return Verdict(ok=False, reason=reason or "mismatch")
    id, timestamp, signatures = stated["webhook-id"], stated["webhook-timestamp"], stated["webhook-signature"]
    offered = read_signatures(signatures)
    if not ID.fullmatch(id) or not TIMESTAMP.fullmatch(timestamp) or offered is None:
        return Verdict(ok=False, reason="malformed_header")
    keys = usable(secrets)
    if not keys:
        return Verdict(ok=False, reason="no_secret")
    if not count_matches(keys, offered, f"{id}.{timestamp}.".encode("ascii") + body):
        return Verdict(ok=False, reason="mismatch")
    return in_time(id, int(timestamp) * 1_000_000 - now, tolerance_seconds * 1_000_000)


def count_matches(keys: Keys, offered: Keys, content: bytes) -> int:
    """How many pairs of a key and a signature fit."""
    matches = 0
    for key in keys.v1:
        expected = digest(key, content, "sha256")
        for signature in offered.v1:
            matches += compare_digest(expected, signature)
    for public in keys.v1a:
        for signature in offered.v1a:
            matches += fits(public, signature, content)
    return matches


def in_time(id: str, ahead: int, tolerance: int) -> Verdict:
    """The verdict on a message whose signature fits: refused when it is older, or from further ahead, than allowed."""
    if ahead < -tolerance:
        return Verdict(ok=False, reason="too_old", id=id)
    if ahead > tolerance:
        return Verdict(ok=False, reason="too_new", id=id)
    return Verdict(ok=True, id=id)


def read_headers(headers: Headers) -> tuple[dict[str, str], str | None]:
    """The three headers that matter and what is wrong with them. Names are compared without regard to case.

    The same value twice is harmless (a proxy did it); two values mean that somebody chose which one we read.
    """
    stated: dict[str, str] = {}
    try:
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        for raw_name, raw_value in pairs:
            name, value = as_text(raw_name).lower(), as_text(raw_value).strip(" \t")
            if name in NAMES and stated.setdefault(name, value) != value:
                return stated, "duplicate_header"
    except (TypeError, ValueError, AttributeError):
        return stated, "malformed_header"
    return stated, None if all(map(stated.get, NAMES)) else "missing_header"


def as_text(raw: str | bytes) -> str:
    return raw.decode("latin-1") if isinstance(raw, bytes) else raw


def read_signatures(header: str) -> Keys | None:
    """The signatures in a header. Other versions and malformed entries are skipped; None when there are too many."""
    entries = header.split(" ", MAX_SIGNATURES)
    if len(entries) > MAX_SIGNATURES:
        return None
    found = Keys()
    for entry in entries:
        version, _, text = entry.partition(",")
        if version not in ("v1", "v1a") or not 43 <= len(text) <= 88:
            continue
        try:
            raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), validate=True)
        except (UnicodeEncodeError, binascii.Error):
            continue
        if version == "v1" and len(raw) == DIGEST_BYTES:
            found.v1.append(raw)
        elif version == "v1a" and len(raw) == SIGNATURE_BYTES:
            found.v1a.append(raw)
    return found


def usable(secrets: Sequence[str | bytes]) -> Keys:
    """The keys of those secrets that can be read."""
    keys = Keys()
    for secret in secrets:
        try:
            if isinstance(secret, bytes):
                if len(secret) >= MIN_KEY_BYTES:
                    keys.v1.append(secret)
            elif secret.strip().startswith(PUBLIC_PREFIX):
                keys.v1a.append(read_public(secret))
            else:
                keys.v1.append(decode_secret(secret))
        except (BadSecret, BadKey, AttributeError):
            continue
    return keys
