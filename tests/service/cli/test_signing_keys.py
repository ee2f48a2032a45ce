from __future__ import annotations

from tests.service.cli.conftest import Relay
from tests.service.cli.inside import said, said_json


def test_keys_are_made_listed_and_retire_beside_the_next(relay: Relay) -> None:
    first = said_json(relay, "signing-keys", "rotate")
    shown = said(relay, "signing-keys", "rotate", "--overlap", "600").out.splitlines()
    assert shown[0].split()[1] == "active" and shown[1].split()[:2] == ["public", "key"]
    assert shown[2].startswith(f"  beside it  {first['id']} until ")
    listed = said_json(relay, "signing-keys", "list")["data"]
    assert [one["status"] for one in listed][:2] == ["active", "retiring"]
    table = said(relay, "signing-keys", "list").out
    assert all(one["id"] in table and one["public_key"] in table for one in listed)


def test_an_overlap_that_cannot_be_is_refused_with_its_field(relay: Relay) -> None:
    ended = said(relay, "signing-keys", "rotate", "--overlap", "99999999")
    assert ended.code == 1 and ended.err.startswith("422 /overlap_seconds  ")
