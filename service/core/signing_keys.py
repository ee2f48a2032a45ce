"""Standard Webhooks v1a: Ed25519 key pairs, for receivers that must not be able to sign what they verify.

`whsk_` and base64 of seed and public key is the private half, which stays here; `whpk_` and base64 of the public key
is what anybody may have. Both sign and verify the same text as v1 does (core/signature.py).
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PRIVATE_PREFIX: Final = "whsk_"
PUBLIC_PREFIX: Final = "whpk_"
SEED_BYTES: Final = 32
PUBLIC_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{1,200}={0,2}")


class BadKey(ValueError):
    """The text is not a signing key. The message never repeats it."""


class Signer:
    """A private key, ready to sign. Shows its public half only."""

    __slots__ = ("_private", "public")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a signing key is made of {SEED_BYTES} random bytes, not {len(seed)}")
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._private.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return f"Signer({self.public_text})"

    @property
    def public_text(self) -> str:
        """As receivers get to see it."""
        return PUBLIC_PREFIX + base64.b64encode(self.public).decode("ascii")

    @property
    def private_text(self) -> str:
        """As it is sealed, and never shown."""
        return PRIVATE_PREFIX + base64.b64encode(self._private.private_bytes_raw() + self.public).decode("ascii")

    def sign(self, content: bytes) -> bytes:
        return self._private.sign(content)


def read_private(text: str) -> Signer:
    """The key in a `whsk_` text. Raises `BadKey`, also when its two halves do not belong together."""
    raw = _decoded(text, PRIVATE_PREFIX, "the private signing key")
    if len(raw) != SEED_BYTES + PUBLIC_BYTES:
        raise BadKey(f"the private signing key holds {len(raw)} bytes; it must hold {SEED_BYTES + PUBLIC_BYTES}.")
    key = Signer(raw[:SEED_BYTES])
    if key.public != raw[SEED_BYTES:]:
        raise BadKey("the public half of the private signing key belongs to another key.")
    return key


def read_public(text: str) -> bytes:
    """The key in a `whpk_` text. Raises `BadKey`."""
    raw = _decoded(text, PUBLIC_PREFIX, "the public key")
    if len(raw) != PUBLIC_BYTES:
        raise BadKey(f'the public key holds {len(raw)} bytes; it must hold {PUBLIC_BYTES}: "whpk_" and 44 characters.')
    return raw


def fits(public: bytes, signature: bytes, content: bytes) -> bool:
    """Whether the holder of the private half signed this content. Total."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, content)
    except (InvalidSignature, ValueError):
        return False
    return True


def _decoded(text: str, prefix: str, name: str) -> bytes:
    bare = text.strip().removeprefix(prefix)
    if not BASE64.fullmatch(bare):
        raise BadKey(f'{name} is not base64. Copy it whole, as "{prefix}" and what follows it.')
    bare = bare.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except binascii.Error:
        raise BadKey(f'{name} is not base64. Copy it whole, as "{prefix}" and what follows it.') from None
