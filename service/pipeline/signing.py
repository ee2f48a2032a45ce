"""Makes the key pairs of v1a: the public half for everybody, the private one sealed before it is stored."""

from __future__ import annotations

from collections.abc import Callable

from service.core import ids
from service.core.keys import NONCE_BYTES, Keyring
from service.core.signing_keys import SEED_BYTES, Signer
from service.pipeline.orders import SIGNING_KEY
from storage.records import SigningKey


def fresh_key(
    keyring: Keyring, project_id: str, *, now: int, mint: Callable[[str], str], entropy: Callable[[int], bytes]
) -> SigningKey:
    """A key that nobody has seen yet, to be put in force by whoever stores it."""
    made = Signer(entropy(SEED_BYTES))
    return SigningKey(
        id=mint(ids.SIGNING_KEY),
        project_id=project_id,
        public_key=made.public_text,
        sealed=keyring.seal(made.private_text, purpose=SIGNING_KEY, nonce=entropy(NONCE_BYTES)),
        created_at=now,
    )
