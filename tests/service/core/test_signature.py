"""Signatures agree with the published vectors and library, and judging one never raises."""

from __future__ import annotations

import base64
import hmac
import time
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook
from svix.webhooks import Webhook as SvixWebhook
from svix.webhooks import WebhookVerificationError as SvixRefused

from service.core.signature import BadSecret, Headers, decode_secret, new_secret, sign, verify
from service.core.signing_keys import Signer, read_private
from tests.depth import examples

KEY = bytes(range(24))
OTHER = bytes(range(24, 48))
ID = "evt_01K0"
NOW = 1_790_000_000
BODY = '{"type":"task.succeeded","data":{"prompt":"ein Boot, 紙の舟"}}'.encode()


def signed(*keys: bytes, id: str = ID, at: int = NOW, body: bytes = BODY) -> dict[str, str]:
    return {
        "webhook-id": id,
        "webhook-timestamp": str(at),
        "webhook-signature": sign(keys, id, at, body),
    }


def judged(headers: Headers, *secrets: str | bytes, body: bytes = BODY, now: int = NOW, tolerance: int = 300) -> str:
    """`ok` or the reason."""
    verdict = verify(headers, body, secrets or (KEY,), now * 1_000_000, tolerance)
    assert verdict.ok == (verdict.reason is None)
    return verdict.reason or "ok"


def test_the_published_vector_of_standard_webhooks() -> None:
    signature = sign(
        [decode_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_vector_on_klings_callbacks_page() -> None:
    secret = "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI="
    body = (
        b'{"id":"1234567890","status":"succeeded","message":"","create_time":1781080778802,"update_time":1781080794151}'
    )
    headers = {
        "Webhook-Id": "9876543210",
        "Webhook-Timestamp": "1781080794",
        "Webhook-Signature": "v1,UsKlJP00XoQyOn410NM9xv34sP+Gl0jnOO9Lcpr7NJ4=",
    }
    assert sign([decode_secret(secret)], "9876543210", 1781080794, body) == headers["Webhook-Signature"]
    verdict = verify(headers, body, [secret], 1781080794 * 1_000_000)
    assert (verdict.ok, verdict.reason, verdict.id) == (True, None, "9876543210")


@given(st.binary(min_size=16, max_size=64), st.binary(max_size=300), st.integers(0, 10**11))
def test_a_signature_is_hmac_sha256_over_id_timestamp_and_body(key: bytes, body: bytes, at: int) -> None:
    expected = base64.b64encode(hmac.new(key, f"{ID}.{at}.".encode() + body, "sha256").digest()).decode()
    assert sign([key], ID, at, body) == f"v1,{expected}"
    assert judged(signed(key, at=at, body=body), key, body=body, now=at) == "ok"


def test_the_published_library_accepts_what_we_sign() -> None:
    now = int(time.time())
    secret = new_secret(KEY)
    event = Webhook(secret).verify(BODY, signed(decode_secret(secret), at=now))
    assert event["type"] == "task.succeeded"


def test_the_published_library_accepts_both_secrets_of_a_rotation() -> None:
    headers = signed(OTHER, KEY, at=int(time.time()))
    for key in (OTHER, KEY):
        assert Webhook(new_secret(key)).verify(BODY, headers)


def test_we_accept_what_the_published_library_signs() -> None:
    moment = datetime.fromtimestamp(NOW, UTC)
    headers = {
        "webhook-id": ID,
        "webhook-timestamp": str(NOW),
        "webhook-signature": Webhook(new_secret(KEY)).sign(ID, moment, BODY.decode()),
    }
    assert judged(headers, new_secret(KEY)) == "ok"


def test_the_newest_key_signs_first() -> None:
    newest, old = sign([OTHER, KEY], ID, NOW, BODY).split(" ")
    assert newest == sign([OTHER], ID, NOW, BODY)
    assert old == sign([KEY], ID, NOW, BODY)


def test_any_of_several_signatures_may_fit_any_of_several_secrets() -> None:
    for signers in ((OTHER, KEY), (KEY, OTHER)):
        for secrets in ((bytes(24), KEY), (KEY, bytes(24))):
            assert judged(signed(*signers), *secrets) == "ok"
    assert judged(signed(OTHER), bytes(24), KEY) == "mismatch"


def test_signing_with_nothing_or_with_a_dotted_id_fails_loudly() -> None:
    with pytest.raises(ValueError, match="no secret"):
        sign([], ID, NOW, BODY)
    with pytest.raises(ValueError, match="separates"):
        sign([KEY], "evt.1", NOW, BODY)


@pytest.mark.parametrize(
    ("now", "expected"),
    [(0, "ok"), (300, "ok"), (-300, "ok"), (301, "too_old"), (-301, "too_new"), (10**9, "too_old")],
)
def test_five_minutes_are_tolerated_on_both_sides(now: int, expected: str) -> None:
    assert judged(signed(KEY), now=NOW + now) == expected


def test_the_tolerance_can_be_chosen() -> None:
    assert judged(signed(KEY), now=NOW + 11, tolerance=10) == "too_old"
    assert judged(signed(KEY), now=NOW + 3000, tolerance=3600) == "ok"


def test_an_id_is_told_only_when_a_signature_covers_it() -> None:
    stale = verify(signed(KEY), BODY, [KEY], (NOW + 999) * 1_000_000)
    assert (stale.ok, stale.id) == (False, ID)
    assert verify(signed(OTHER), BODY, [KEY], NOW * 1_000_000).id is None


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_each_header_is_needed(name: str) -> None:
    headers = signed(KEY)
    assert judged(headers | {name: ""}) == "missing_header"
    del headers[name]
    assert judged(headers) == "missing_header"


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_header_with_two_values_is_refused_and_a_repeated_one_is_not(name: str) -> None:
    pairs = list(signed(KEY).items())
    same = [*pairs, (name.title(), dict(pairs)[name])]
    assert judged(same) == "ok"
    assert judged([*pairs, (name.title(), "7")]) == "duplicate_header"
    assert judged([(name, "7"), *pairs]) == "duplicate_header"


def test_headers_as_an_asgi_server_gives_them_are_read() -> None:
    assert judged([(name.encode(), value.encode()) for name, value in signed(KEY).items()]) == "ok"


@pytest.mark.parametrize(
    "timestamp",
    [
        "+1790000000",
        "-1",
        "1790000000.0",
        "1.79e9",
        "1_790_000_000",
        "0x1",
        "01790000000",
        "1" * 13,
        "\u0661",
        "NaN",
        "1 ",
    ],
)
def test_a_timestamp_is_plain_decimal_or_refused(timestamp: str) -> None:
    content = f"{ID}.{timestamp}.".encode() + BODY
    signature = base64.b64encode(hmac.digest(KEY, content, "sha256")).decode()
    headers = {"webhook-id": ID, "webhook-timestamp": timestamp, "webhook-signature": f"v1,{signature}"}
    assert judged(headers) == ("mismatch" if timestamp == "1 " else "malformed_header")


@pytest.mark.parametrize("id", ["a.b", "é", "a b", "x" * 257, "\ud800", "a\nb"])
def test_an_id_that_could_not_be_signed_is_malformed(id: str) -> None:
    assert judged(signed(KEY) | {"webhook-id": id}) == "malformed_header"


def test_moving_the_dots_does_not_make_another_message() -> None:
    # "1.2" + "3" + "x" and "1" + "2" + "3.x" spell the same signed text.
    signature = base64.b64encode(hmac.digest(KEY, b"1.2.3.x", "sha256")).decode()
    headers = {"webhook-id": "1.2", "webhook-timestamp": "3", "webhook-signature": f"v1,{signature}"}
    assert judged(headers, body=b"x", now=3) == "malformed_header"


@pytest.mark.parametrize(
    "extra",
    [
        "v1a,AAAA",
        "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        "v1",
        "v1,",
        "v1,é",
        ",",
        "",
        "v1," + "A" * 43 + "!",
    ],
)
def test_unknown_and_malformed_entries_are_skipped(extra: str) -> None:
    header = signed(KEY)["webhook-signature"]
    for text in (f"{extra} {header}", f"{header} {extra}"):
        assert judged(signed(KEY) | {"webhook-signature": text}) == "ok"
    assert judged(signed(KEY) | {"webhook-signature": extra or " "}) in {"mismatch", "missing_header"}


def test_more_signatures_than_a_rotation_needs_are_refused() -> None:
    header = " ".join(["v1,x"] * 31 + [signed(KEY)["webhook-signature"]])
    assert judged(signed(KEY) | {"webhook-signature": header}) == "ok"
    assert judged(signed(KEY) | {"webhook-signature": f"v1,x {header}"}) == "malformed_header"


def test_a_version_is_never_read_as_another() -> None:
    unmarked = signed(KEY)["webhook-signature"].removeprefix("v1,")
    for header in (unmarked, f"v1a,{unmarked}", f"V1,{unmarked}", f"v1, {unmarked}"):
        assert judged(signed(KEY) | {"webhook-signature": header}) == "mismatch"


@given(st.data())
def test_a_changed_byte_anywhere_is_a_mismatch(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(BODY) - 1))
    flipped = bytes([BODY[place] ^ data.draw(st.integers(1, 255))])
    assert judged(signed(KEY), body=BODY[:place] + flipped + BODY[place + 1 :]) == "mismatch"


def test_secrets_that_cannot_be_read_are_passed_over() -> None:
    assert judged(signed(KEY), "whsec_é", "short", b"", KEY) == "ok"
    assert judged(signed(KEY), "whsec_é", b"") == "no_secret"
    assert verify(signed(KEY), BODY, [], NOW * 1_000_000).reason == "no_secret"


def test_an_empty_key_verifies_nothing() -> None:
    assert judged(signed(b""), b"") == "no_secret"


NAMES = st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "WEBHOOK-ID", "x"]) | st.text(
    max_size=9
)
VALUES = st.text(st.characters(), max_size=60) | st.sampled_from([ID, str(NOW), sign([KEY], ID, NOW, BODY)])
ODD = st.none() | st.integers() | st.binary(max_size=9) | VALUES


@settings(max_examples=examples(400))
@given(st.dictionaries(NAMES, VALUES) | st.lists(st.tuples(NAMES | st.binary(max_size=9), ODD)), ODD, st.lists(ODD))
def test_judging_is_total(headers: Headers, body: bytes, secrets: list[str | bytes]) -> None:
    verdict = verify(headers, body, secrets, NOW * 1_000_000)
    assert not verdict.ok or body == BODY


@pytest.mark.parametrize("headers", [None, 7, [1], ["abc"], [("a", "b", "c")], [("webhook-id", None)]])
def test_headers_of_no_shape_at_all_are_malformed(headers: Headers) -> None:
    assert judged(headers) == "malformed_header"


def test_a_new_secret_needs_no_padding_and_decodes_to_its_bytes() -> None:
    secret = new_secret(KEY)
    assert secret.startswith("whsec_")
    assert len(secret) == len("whsec_") + 32
    assert "=" not in secret
    assert decode_secret(secret) == KEY
    with pytest.raises(ValueError, match="24 random bytes, not 23"):
        new_secret(KEY[1:])


@given(st.binary(min_size=16, max_size=256))
def test_a_secret_is_read_in_every_spelling(key: bytes) -> None:
    text = base64.b64encode(key).decode()
    for spelling in (text, text.rstrip("="), base64.urlsafe_b64encode(key).decode(), f" whsec_{text}\n"):
        assert decode_secret(spelling) == key


@pytest.mark.parametrize(
    "text", ["", "whsec_", "whsec_AAAA", "whsec_" + "A" * 400, "whsec_é" + "A" * 30, "not base64 at all!!"]
)
def test_what_is_no_secret_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(BadSecret) as refused:
        decode_secret(text)
    assert "AAAA" not in str(refused.value)
    assert "not base64 at" not in str(refused.value)


SIGNER, OTHER_SIGNER = Signer(bytes(32)), Signer(bytes(range(32)))


def signed_v1a(*signers: Signer, keys: tuple[bytes, ...] = ()) -> dict[str, str]:
    return {**signed(KEY), "webhook-signature": sign(keys, ID, NOW, BODY, signers)}


def test_the_published_vector_of_v1a() -> None:
    """`test_asymmetric_key_signing` of the Svix server, where v1a comes from."""
    key = read_private("whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==")
    made = sign([], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', [key])
    assert made == "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="


def test_v1a_is_ed25519_over_id_timestamp_and_body() -> None:
    version, _, text = signed_v1a(SIGNER)["webhook-signature"].partition(",")
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(SIGNER.public_text.removeprefix("whpk_")))
    public.verify(base64.b64decode(text), f"{ID}.{NOW}.".encode() + BODY)
    assert version == "v1a"


def test_both_versions_stand_beside_each_other_and_each_verifies_alone() -> None:
    headers = signed_v1a(SIGNER, OTHER_SIGNER, keys=(OTHER, KEY))
    assert [one.split(",")[0] for one in headers["webhook-signature"].split(" ")] == ["v1", "v1", "v1a", "v1a"]
    for secret in (KEY, OTHER, SIGNER.public_text, OTHER_SIGNER.public_text):
        assert judged(headers, secret) == "ok"
    assert judged(headers, bytes(24), Signer(b"z" * 32).public_text) == "mismatch"
    for library in (Webhook, SvixWebhook):
        library(new_secret(KEY)).verify(BODY, signed_v1a(SIGNER, keys=(KEY,)) | stamped_now(SIGNER, keys=(KEY,)))


def stamped_now(*signers: Signer, keys: tuple[bytes, ...]) -> dict[str, str]:
    """The published libraries look at the clock themselves."""
    now = int(time.time())
    return {"webhook-timestamp": str(now), "webhook-signature": sign(keys, ID, now, BODY, signers)}


def test_a_signature_of_one_version_is_none_of_the_other() -> None:
    relabelled = signed_v1a(SIGNER)["webhook-signature"].replace("v1a,", "v1,")
    assert judged({**signed(KEY), "webhook-signature": relabelled}, KEY, SIGNER.public_text) == "mismatch"
    relabelled = signed(KEY)["webhook-signature"].replace("v1,", "v1a,")
    assert judged({**signed(KEY), "webhook-signature": relabelled}, KEY, SIGNER.public_text) == "mismatch"


@pytest.mark.parametrize("text", [SIGNER.public_text, SIGNER.private_text, f" {SIGNER.public_text}\n"])
def test_a_key_of_v1a_is_no_secret_of_v1(text: str) -> None:
    with pytest.raises(BadSecret, match="Ed25519"):
        decode_secret(text)


def test_the_private_half_verifies_nothing() -> None:
    assert judged(signed_v1a(SIGNER), SIGNER.private_text) == "no_secret"


def test_the_published_svix_package_accepts_what_we_sign() -> None:
    for keys in ((KEY,), (OTHER, KEY)):
        SvixWebhook(new_secret(KEY)).verify(BODY, signed(*keys, at=int(time.time())))
    with pytest.raises(SvixRefused):
        SvixWebhook(new_secret(KEY)).verify(BODY + b" ", signed(KEY, at=int(time.time())))


HEADER = st.one_of(
    st.text(max_size=200), st.binary(max_size=200), st.just("v1a," + "A" * 86 + "=="), st.just("v1," + "A" * 43 + "=")
)


@given(
    st.lists(st.tuples(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), HEADER), max_size=5),
    st.binary(max_size=100),
    st.lists(st.one_of(st.text(max_size=60), st.binary(max_size=60), st.just(SIGNER.public_text)), max_size=4),
    st.integers(-(10**18), 10**18),
)
def test_judging_arbitrary_bytes_with_arbitrary_secrets_never_raises(
    headers: list[tuple[str, str]], body: bytes, secrets: list[str | bytes], now: int
) -> None:
    assert verify(headers, body, secrets, now).ok is False
