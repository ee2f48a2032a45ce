"""Ed25519 pairs read and write as others do, and verify what an independent Ed25519 says."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from service.core.signing_keys import BadKey, Signer, fits, read_private, read_public

# Printed by `svix-server asymmetric-key generate`, on the page of the Svix server.
PRIVATE = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
PUBLIC = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="


def test_a_pair_that_another_server_made_is_read_and_written_as_it_was() -> None:
    key = read_private(PRIVATE)
    assert (key.private_text, key.public_text) == (PRIVATE, PUBLIC)
    assert read_public(PUBLIC) == key.public


# RFC 8032, 7.1, tests 1 to 3: seed, public key, message, signature.
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("seed", "public", "message", "signature"), VECTORS)
def test_the_vectors_of_rfc_8032(seed: str, public: str, message: str, signature: str) -> None:
    key = Signer(bytes.fromhex(seed))
    assert key.public.hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    assert fits(key.public, bytes.fromhex(signature), bytes.fromhex(message))
    assert not fits(key.public, bytes.fromhex(signature), bytes.fromhex(message) + b"x")


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200))
def test_whatever_it_signs_an_independent_ed25519_verifies(seed: bytes, content: bytes) -> None:
    Ed25519PrivateKey.from_private_bytes(seed).public_key().verify(Signer(seed).sign(content), content)
    assert read_private(Signer(seed).private_text).public == Signer(seed).public


@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=80))
def test_judging_a_signature_never_raises(public: bytes, signature: bytes, content: bytes) -> None:
    assert fits(public, signature, content) is False


@given(st.text(max_size=120))
def test_reading_a_key_says_bad_or_returns(text: str) -> None:
    for read in (read_private, read_public):
        try:
            read(text)
        except BadKey as error:
            assert len(text) < 8 or text not in str(error)


def test_halves_that_do_not_belong_together_are_refused() -> None:
    seed, other = bytes(32), Signer(b"x" * 32)
    mixed = "whsk_" + base64.b64encode(seed + other.public).decode()
    with pytest.raises(BadKey, match="another key"):
        read_private(mixed)
    for text in ("whsk_" + base64.b64encode(seed).decode(), "whsk_", "whpk_AAAA", "whsk_***"):
        with pytest.raises(BadKey):
            read_private(text)
    with pytest.raises(BadKey, match="must hold 32"):
        read_public(PRIVATE.replace("whsk_", "whpk_"))


def test_nothing_shows_the_private_half() -> None:
    key = read_private(PRIVATE)
    assert repr(key) == f"Signer({PUBLIC})"
    with pytest.raises(ValueError, match="32 random bytes"):
        Signer(b"short")
