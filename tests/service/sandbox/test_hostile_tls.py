from __future__ import annotations

import ssl

import pytest

from service.sandbox.hostile import Hostile
from service.sandbox.hostile_tls import CERTIFICATES
from tests.service.sandbox.test_hostile import speak, whole

WRONG = {
    "tls-ok": None,
    "tls-other-name": "mismatch",
    "tls-expired": "expired",
    "tls-self-signed": "self-signed",
}


def test_every_certificate_is_looked_at() -> None:
    assert set(WRONG) == set(CERTIFICATES)


@pytest.mark.parametrize("case", WRONG)
async def test_a_certificate_is_wrong_in_one_way_only(case: str) -> None:
    async with Hostile() as hostile:
        trusting = ssl.create_default_context(cadata=hostile.authority.pem.decode())
        reason = WRONG[case]
        if reason is None:
            assert b" 204 " in await speak(hostile.urls[case], tls=trusting, enough=whole)
            return
        with pytest.raises(ssl.SSLCertVerificationError, match=reason):
            await speak(hostile.urls[case], tls=trusting)


async def test_noise_is_no_handshake() -> None:
    async with Hostile() as hostile:
        with pytest.raises(ssl.SSLError):
            await speak(hostile.urls["tls-noise"], tls=ssl.create_default_context())
