"""A new key pair shows its public half and keeps the other sealed."""

from __future__ import annotations

import secrets

from service.core.keys import Keyring
from service.core.signing_keys import read_private, read_public
from service.pipeline.signing import fresh_key

RING = Keyring([b"k" * 32])


def test_the_private_half_is_stored_sealed_and_belongs_to_the_public_one() -> None:
    made = fresh_key(RING, "prj_1", now=7, mint=lambda prefix: f"{prefix}_1", entropy=secrets.token_bytes)
    assert (made.id, made.project_id, made.created_at, made.expires_at) == ("sgk_1", "prj_1", 7, None)
    opened = RING.open(made.sealed, "signing-key")
    assert read_private(opened).public == read_public(made.public_key)
    assert "whsk_" not in repr(made) and opened.removeprefix("whsk_") not in repr(made)
