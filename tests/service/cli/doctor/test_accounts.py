"""Each account's address is judged, called once for all accounts of it, and never shown the key."""

from __future__ import annotations

import pytest

from tests.service.cli.doctor.scene import Answers, Place


def test_accounts_at_one_address_are_asked_once(place: Place, provider: Answers) -> None:
    place.settings |= {
        "TASKRELAY_ACCOUNTS__SECOND__PROVIDER": "ulazai",
        "TASKRELAY_ACCOUNTS__SECOND__API_KEY": "k",
        "TASKRELAY_ACCOUNTS__SECOND__BASE_URL": provider.url,
    }
    told = place.doctor()
    assert any(about == "account cloudsway, second" for about, _, _ in told.of("fine"))
    assert provider.got == [("HEAD", "/", 0)]


@pytest.mark.parametrize(("seconds", "grade"), [(30, "note"), (600, "wrong")])
def test_a_clock_a_little_off_is_to_be_known_and_far_off_is_wrong(
    seconds: int, grade: str, place: Place, provider: Answers
) -> None:
    from email.utils import formatdate
    from time import time

    provider.headers = {"date": formatdate(time() + seconds, usegmt=True)}
    [(about, text, _)] = [one for one in place.doctor().of(grade) if one[0] == "clock"]
    assert about == "clock" and " s behind http://127.0.0.1" in text


def test_a_name_that_does_not_resolve_is_told_with_a_line_about_names(place: Place) -> None:
    place.settings["TASKRELAY_ACCOUNTS__CLOUDSWAY__BASE_URL"] = "https://no-such-host.invalid"
    [(about, text, fix)] = place.doctor().wrong
    assert about == "account cloudsway" and "resolved" in text and fix.startswith("dig +short no-such-host.invalid")
