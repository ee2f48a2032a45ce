"""A token is read back by its own purpose, installation and keys, and by nothing else."""

from __future__ import annotations

import hashlib
import itertools
import string
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from itsdangerous import Signer

from service.core import ids
from service.core.keys import Keyring
from service.core.tokens import Tokens
from tests.depth import examples

NEW = bytes(range(32))
OLD = bytes(range(32, 64))
RING = Keyring([NEW])
TOKENS = Tokens(RING, "ins_here")
SUBMISSION = ids.mint("sub", 1_790_000_000_000_000, bytes(10))
TASK = ids.mint("task", 1_790_000_000_000_000, bytes(10))
TOKEN = TOKENS.callback("cloudsway", SUBMISSION)
URL_SAFE = frozenset(string.ascii_letters + string.digits + "._-")


def read(token: str) -> str | None:
    return TOKENS.read_callback("cloudsway", token)


@given(st.integers(0, 2**47), st.binary(min_size=10, max_size=10))
def test_a_token_names_what_it_was_made_for(now: int, entropy: bytes) -> None:
    assert read(TOKENS.callback("cloudsway", ids.mint("sub", now, entropy))) == ids.mint("sub", now, entropy)
    assert TOKENS.read_output(TOKENS.output(ids.mint("task", now, entropy))) == ids.mint("task", now, entropy)


def test_tokens_are_short_and_need_no_quoting_in_a_url() -> None:
    for token in (TOKEN, TOKENS.output(TASK)):
        assert 20 <= len(token) <= 90
        assert set(token) <= URL_SAFE


def test_a_token_is_the_same_every_time() -> None:
    assert Tokens(Keyring([NEW]), "ins_here").callback("cloudsway", SUBMISSION) == TOKEN


def test_the_full_matrix_of_purpose_installation_and_key_lets_only_the_diagonal_through() -> None:
    houses = [Tokens(Keyring([key]), place) for key in (NEW, OLD) for place in ("ins_here", "ins_there")]
    made = {}
    for house, purpose in itertools.product(houses, ("cloudsway", "acedata", "output")):
        made[house, purpose] = house.output("task_1") if purpose == "output" else house.callback(purpose, "sub_1")
    for (maker, kind), (reader, purpose) in itertools.product(made, made):
        token = made[maker, kind]
        found = reader.read_output(token) if purpose == "output" else reader.read_callback(purpose, token)
        expected = "task_1" if kind == "output" else "sub_1"
        assert found == (expected if (maker, kind) == (reader, purpose) else None)


def test_rotation_breaks_no_url_in_flight_and_signs_with_the_newest_key() -> None:
    before = Tokens(Keyring([OLD]), "ins_here")
    during = Tokens(Keyring([NEW, OLD]), "ins_here")
    assert during.read_callback("cloudsway", before.callback("cloudsway", SUBMISSION)) == SUBMISSION
    assert during.callback("cloudsway", SUBMISSION) == TOKEN
    assert before.read_callback("cloudsway", TOKEN) is None


def test_the_stock_signer_makes_and_accepts_the_same_signatures() -> None:
    stock = Signer(RING.derive("tokens"), salt="cb.v1", key_derivation="hmac", digest_method=hashlib.sha256)
    value, _, signed = TOKEN.rpartition(".")
    assert stock.get_signature(f"{value}/cloudsway").decode() == signed
    assert stock.verify_signature(f"{value}/cloudsway", signed)


# What itsdangerous 2.2 alone lets through: it ignores non-alphabet characters and idle bits in a signature.
LAX = ["!!", "=", "==", "é", "\n", "\0", " "]


@pytest.mark.parametrize("suffix", LAX)
def test_nothing_can_be_appended(suffix: str) -> None:
    assert read(TOKEN + suffix) is None
    assert read(suffix + TOKEN) is None


def test_no_other_spelling_of_the_signature_passes() -> None:
    stock = Signer(RING.derive("tokens"), salt="cb.v1", key_derivation="hmac", digest_method=hashlib.sha256)
    others = [TOKEN[:-1] + last for last in string.ascii_letters + string.digits + "-_" if last != TOKEN[-1]]
    parts = [other.rpartition(".") for other in others]
    passing = [stock.verify_signature(f"{value}/cloudsway", signed) for value, _, signed in parts]
    assert sum(passing) == 3  # the weakness is there
    assert not any(map(read, others))  # and does not reach us


@settings(max_examples=examples(500))
@given(st.data())
def test_a_changed_character_anywhere_is_refused(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(TOKEN) - 1))
    character = data.draw(st.characters().filter(lambda character: character != TOKEN[place]))
    assert read(TOKEN[:place] + character + TOKEN[place + 1 :]) is None


@given(st.integers(0, len(TOKEN) - 1), st.integers(0, len(TOKEN)))
def test_a_part_of_a_token_is_refused(start: int, stop: int) -> None:
    if TOKEN[start:stop] != TOKEN:
        assert read(TOKEN[start:stop]) is None


@settings(max_examples=examples(500))
@given(st.text() | st.none() | st.binary() | st.integers() | st.from_regex(r"v1\.[0-9A-Z]{8}\.\w+\.[\w-]{43}"))
def test_reading_is_total(token: str) -> None:
    assert read(token) is None
    assert TOKENS.read_output(token) is None


def test_a_lone_surrogate_and_a_huge_text_are_refused_quietly() -> None:
    assert read(TOKEN[:-1] + "\ud800") is None
    assert read(TOKEN * 10_000) is None


def test_a_long_name_still_makes_a_token_within_bounds() -> None:
    token = TOKENS.callback("cloudsway", "sub_" + "a" * 64)
    assert len(token) <= 200
    assert read(token) == "sub_" + "a" * 64


@pytest.mark.parametrize("id", ["", "sub_", "task_1", "1", "sub_a.b", "sub_é", "sub_" + "a" * 65, "sub_1\n"])
def test_no_token_is_made_for_what_is_no_submission(id: str) -> None:
    with pytest.raises(ValueError, match="no id of the kind sub_"):
        TOKENS.callback("cloudsway", id)


def test_every_installation_has_a_tag_of_fixed_length() -> None:
    tags = {
        Tokens(RING, name).callback("cloudsway", "sub_1").split(".")[1]
        for name in ("", "a", "ins_é", "x" * sys.maxunicode)
    }
    assert len(tags) == 4
    assert {len(tag) for tag in tags} == {8}


def test_a_probe_names_nothing_and_its_echo_stands_for_its_body() -> None:
    token = TOKENS.probe("prb_1")
    assert read(token) is None and TOKENS.read_output(token) is None
    echo = TOKENS.echo(token, b"body")
    assert echo is not None and echo != token and echo == TOKENS.echo(token, b"body")
    assert TOKENS.echo(token, b"bodY") != echo and TOKENS.echo(TOKENS.probe("prb_2"), b"body") != echo
    assert TOKENS.echo(echo, b"body") is None  # an echo is no probe
    assert TOKENS.echo(TOKEN, b"") is None
