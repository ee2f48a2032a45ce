"""Endpoints and accounts that want a person, from the rows alone."""

from __future__ import annotations

from service.cli.doctor.parties import NAMED
from tests.service.cli.doctor.scene import Place


def test_endpoints_that_are_well_or_hidden_or_deleted_are_not_told(place: Place) -> None:
    place.start()
    place.plant_endpoint("ep_well", expires_at=9 * 10**15)
    place.plant_endpoint("ep_hidden", hidden=1, status="disabled")
    place.plant_endpoint("ep_gone", deleted_at=5, status="disabled")
    told = place.doctor()
    assert "ep_" not in told.text and told.code == 0


def test_each_state_has_its_own_words(place: Place) -> None:
    place.start()
    place.plant_endpoint("ep_paused", status="paused")
    place.plant_endpoint("ep_blocked", health='{"since":1,"blocked":true}')
    told = place.doctor()
    assert ("endpoint ep_paused", "paused: its events wait") in [one[:2] for one in told.of("note")]
    assert [one[:2] for one in told.wrong] == [("endpoint ep_blocked", "its address may not be called")]


def test_many_are_counted_and_not_listed(place: Place) -> None:
    place.start()
    for number in range(NAMED + 3):
        place.plant_endpoint(f"ep_{number:02}", status="paused")
    noted = place.doctor().of("note")
    assert sum(about.startswith("endpoint ep_") for about, _, _ in noted) == NAMED
    assert ("endpoints", "3 further ones are not well", "taskrelay endpoints list") in noted


def test_pushes_that_no_longer_arrive_are_told(place: Place) -> None:
    place.start()
    care = '{"silent_since":1000000}'
    place.plant("INSERT INTO lanes (kind, key, epoch, until, care) VALUES ('account', 'cloudsway', 0, 0, ?)", care)
    [(about, text, _)] = place.doctor().wrong
    assert about == "account cloudsway" and "pushes are missing since 1970-01-01" in text
