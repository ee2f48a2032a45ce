"""Weak keys are refused with words that help, rotation loses nothing, and what is sealed opens for its purpose only."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from service.core.keys import Keyring, Unsealable, key_id_of

NEW = bytes(range(32))
OLD = bytes(range(32, 80))
NONCE = bytes(12)


@pytest.mark.parametrize(
    ("secrets", "complaint"),
    [
        ([], "TASKRELAY_SECRET_KEYS is empty"),
        ([b""], "key 1 of TASKRELAY_SECRET_KEYS has 0 bytes"),
        ([NEW, b"x" * 31], "key 2 of TASKRELAY_SECRET_KEYS has 31 bytes; at least 32"),
        ([NEW, OLD, NEW], "TASKRELAY_SECRET_KEYS names a key twice"),
    ],
)
def test_weak_lists_are_refused_and_told_how_to_make_a_key(secrets: list[bytes], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as refused:
        Keyring(secrets)
    assert "openssl rand -base64 48" in str(refused.value)
    assert "xxx" not in str(refused.value)


def test_a_purpose_key_is_hkdf_of_the_secret_newest_first() -> None:
    expected = [
        HKDF(algorithm=SHA256(), length=32, salt=b"taskrelay", info=b"tokens").derive(key) for key in (NEW, OLD)
    ]
    assert Keyring([NEW, OLD]).derive("tokens") == expected
    assert Keyring([OLD, NEW]).derive("tokens") == expected[::-1]


def test_purposes_share_no_key() -> None:
    ring = Keyring([NEW, OLD])
    keys = [key for purpose in ("tokens", "id", "seal.endpoint", "events") for key in ring.derive(purpose)]
    assert len(set(keys)) == len(keys)
    assert NEW not in keys


def test_a_caller_cannot_alter_the_ring_through_what_it_derived() -> None:
    ring = Keyring([NEW])
    ring.derive("tokens").clear()
    assert len(ring.derive("tokens")) == 1


def test_key_ids_are_eight_hex_digits_of_their_own_derivation() -> None:
    ring = Keyring([NEW, OLD])
    assert ring.key_ids == tuple(key.hex()[:8] for key in ring.derive("id"))


def test_two_keys_that_share_a_key_id_are_refused() -> None:
    with pytest.raises(ValueError, match="share the key id"):
        Keyring([number.to_bytes(32, "big") for number in (3522, 100413)])  # found by search


def test_repr_shows_key_ids_and_no_key() -> None:
    ring = Keyring([NEW, OLD])
    ring.seal("whsec_canary", purpose="endpoint", nonce=NONCE)
    assert repr(ring) == f"Keyring({ring.key_ids[0]}, {ring.key_ids[1]})"


@given(st.text(), st.text(max_size=20), st.binary(min_size=12, max_size=12))
def test_what_is_sealed_opens_for_its_purpose_only(plaintext: str, purpose: str, nonce: bytes) -> None:
    ring = Keyring([NEW])
    sealed = ring.seal(plaintext, purpose=purpose, nonce=nonce)
    assert ring.open(sealed, purpose) == plaintext
    with pytest.raises(Unsealable, match="altered since or meant for another purpose"):
        ring.open(sealed, f"{purpose}x")


def test_sealed_text_names_its_key_and_hides_its_content() -> None:
    ring = Keyring([NEW, OLD])
    sealed = ring.seal("whsec_canary", purpose="endpoint", nonce=NONCE)
    version, key_id, _ = sealed.split(".")
    assert (version, key_id) == ("k1", ring.key_ids[0])
    assert key_id_of(sealed) == key_id
    assert "canary" not in sealed


def test_a_sealed_text_is_nonce_and_aes_gcm_under_a_key_of_its_purpose() -> None:
    ring = Keyring([NEW])
    content = ring.seal("whsec_canary!", purpose="endpoint", nonce=NONCE).split(".")[2]
    raw = base64.urlsafe_b64decode(content + "=" * (-len(content) % 4))
    assert raw[:12] == NONCE
    assert AESGCM(ring.derive("seal.endpoint")[0]).decrypt(NONCE, raw[12:], b"endpoint") == b"whsec_canary!"


def test_rotation_opens_what_the_old_key_sealed() -> None:
    sealed = Keyring([OLD]).seal("whsec_canary", purpose="endpoint", nonce=NONCE)
    assert Keyring([NEW, OLD]).open(sealed, "endpoint") == "whsec_canary"


def test_a_missing_key_is_named() -> None:
    old = Keyring([OLD])
    sealed = old.seal("whsec_canary", purpose="endpoint", nonce=NONCE)
    with pytest.raises(
        Unsealable, match=f"sealed with key {old.key_ids[0]}, which is not in TASKRELAY_SECRET_KEYS"
    ) as lost:
        Keyring([NEW]).open(sealed, "endpoint")
    assert lost.value.key_id == old.key_ids[0]


@given(st.data())
def test_an_altered_text_never_opens(data: st.DataObject) -> None:
    ring = Keyring([NEW])
    sealed = ring.seal("whsec_canary", purpose="endpoint", nonce=NONCE)
    place = data.draw(st.integers(len("k1.12345678."), len(sealed) - 2))  # the last digit has idle bits
    digit = data.draw(st.sampled_from("ABCXYZabcxyz019-_").filter(lambda digit: digit != sealed[place]))
    with pytest.raises(Unsealable):
        ring.open(sealed[:place] + digit + sealed[place + 1 :], "endpoint")


@given(st.text(max_size=80) | st.from_regex(r"k1\.[0-9a-f]{8}\.[A-Za-z0-9_-]*", fullmatch=True))
def test_anything_else_is_unsealable_and_no_other_error(text: str) -> None:
    with pytest.raises(Unsealable):
        Keyring([NEW]).open(text, "endpoint")


def test_any_length_of_base64_is_judged_and_not_stumbled_over() -> None:
    ring = Keyring([NEW])
    for length in range(30, 60):
        with pytest.raises(Unsealable):
            ring.open(f"k1.{ring.key_ids[0]}.{'A' * length}", "endpoint")


def test_a_text_that_is_not_sealed_has_no_key_id() -> None:
    assert key_id_of("whsec_canary") is None


def test_a_nonce_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="nonce of 12 bytes, not 16"):
        Keyring([NEW]).seal("x", purpose="endpoint", nonce=bytes(16))
