"""The installation's secret keys: one list, newest first, and a key of its own for every purpose.

The newest key signs and seals; all of them verify and open, so a key is rotated by putting a new one in front and
dropping the old one once nothing sealed with it is left.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MIN_SECRET_BYTES: Final = 32
NONCE_BYTES: Final = 12
SEALED: Final = re.compile(r"k1\.([0-9a-f]{8})\.([A-Za-z0-9_-]{38,})")  # at least a nonce and a tag
STATED: Final = re.compile(r"k1\.([0-9a-f]{8})(?![^.])")
HOW_TO_MAKE_ONE: Final = "Make one with: openssl rand -base64 48"


class Unsealable(Exception):
    """A sealed text could not be opened. `key_id` names the key it asks for, when the text states one."""

    def __init__(self, message: str, key_id: str | None = None) -> None:
        super().__init__(message)
        self.key_id = key_id


class Keyring:
    """The secret keys, newest first. Shows key ids, never keys."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        """Raises `ValueError` on a list that would weaken everything signed with it."""
        refuse_weak(secrets)
        self._secrets = tuple(secrets)
        self._derived: dict[str, tuple[bytes, ...]] = {}
        self._ciphers: dict[str, dict[str, AESGCM]] = {}
        self.key_ids: tuple[str, ...] = tuple(key.hex()[:8] for key in self.derive("id"))
        if len(set(self.key_ids)) < len(self.key_ids):  # once in 2**32; sealed texts could not say which they mean
            raise ValueError(f"two of TASKRELAY_SECRET_KEYS share the key id. Replace one. {HOW_TO_MAKE_ONE}")

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self.key_ids)})"

    def derive(self, purpose: str) -> list[bytes]:
        """One 32-byte key per secret, newest first, good for this purpose only (HKDF-SHA256, RFC 5869)."""
        if purpose not in self._derived:
            self._derived[purpose] = tuple(expand(secret, purpose) for secret in self._secrets)
        return list(self._derived[purpose])

    def seal(self, plaintext: str, *, purpose: str, nonce: bytes) -> str:
        """`k1.<key id>.<base64>` under the newest key, AES-256-GCM. `nonce`: 12 random bytes, never used twice.

        The purpose is part of what is authenticated: a text sealed for one column does not open in another.
        """
        if len(nonce) != NONCE_BYTES:
            raise ValueError(f"sealing takes a nonce of {NONCE_BYTES} bytes, not {len(nonce)}")
        cipher = self.ciphers(purpose)[self.key_ids[0]]
        content = nonce + cipher.encrypt(nonce, plaintext.encode("utf-8"), purpose.encode("utf-8"))
        return f"k1.{self.key_ids[0]}.{base64.urlsafe_b64encode(content).rstrip(b'=').decode('ascii')}"

    def open(self, sealed: str, purpose: str) -> str:
        """The plaintext of what `seal` made for the same purpose. Raises `Unsealable`."""
        found = SEALED.fullmatch(sealed)
        if found is None:
            raise Unsealable("this is not a sealed text: it does not read k1.<key id>.<base64>")
        key_id = found[1]
        cipher = self.ciphers(purpose).get(key_id)
        if cipher is None:
            raise Unsealable(
                f"sealed with key {key_id}, which is not in TASKRELAY_SECRET_KEYS ({', '.join(self.key_ids)}). "
                "Put that key back at the end of the list; `taskrelay db reseal` then frees it.",
                key_id,
            )
        try:
            content = base64.urlsafe_b64decode(found[2] + "=" * (-len(found[2]) % 4))
            plaintext = cipher.decrypt(content[:NONCE_BYTES], content[NONCE_BYTES:], purpose.encode("utf-8"))
        except (InvalidTag, ValueError, binascii.Error):
            raise Unsealable(
                f"sealed with key {key_id}, but altered since or meant for another purpose", key_id
            ) from None
        return plaintext.decode("utf-8")

    def ciphers(self, purpose: str) -> dict[str, AESGCM]:
        """The ciphers of a purpose by key id, built once."""
        if purpose not in self._ciphers:
            keys = self.derive(f"seal.{purpose}")
            self._ciphers[purpose] = dict(zip(self.key_ids, map(AESGCM, keys), strict=True))
        return self._ciphers[purpose]


def key_id_of(sealed: str) -> str | None:
    """The id of the key that a sealed text, or its beginning, asks for. None when it is not a sealed text."""
    found = STATED.match(sealed)
    return found[1] if found else None


def beginning(key_id: str) -> str:
    """What every text begins with that this key has sealed."""
    return f"k1.{key_id}"


def expand(secret: bytes, purpose: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=b"taskrelay", info=purpose.encode("utf-8")).derive(secret)


def refuse_weak(secrets: Sequence[bytes]) -> None:
    """itsdangerous signs with an empty key without a word, so weakness has to be refused here."""
    if not secrets:
        raise ValueError(f"TASKRELAY_SECRET_KEYS is empty. {HOW_TO_MAKE_ONE}")
    for number, secret in enumerate(secrets, start=1):
        if len(secret) < MIN_SECRET_BYTES:
            raise ValueError(
                f"key {number} of TASKRELAY_SECRET_KEYS has {len(secret)} bytes; at least {MIN_SECRET_BYTES} are needed. "
                f"{HOW_TO_MAKE_ONE}"
            )
    if len(set(secrets)) < len(secrets):
        raise ValueError(f"TASKRELAY_SECRET_KEYS names a key twice. Remove one, or replace it. {HOW_TO_MAKE_ONE}")
