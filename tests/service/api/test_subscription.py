from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.api.subscription import MEMBERS, settings_of
from service.core.request import Invalid
from storage.records import Endpoint
from tests.service.api.house import House

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
NAMED = st.dictionaries(st.sampled_from([*MEMBERS, "secret", "other"]), JSON, max_size=6)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=JSON | NAMED | st.fixed_dictionaries({"filter": JSON}) | st.fixed_dictionaries({"headers": JSON}))
async def test_whatever_is_sent_is_taken_whole_or_refused_with_a_place(house: House, body: object) -> None:
    try:
        found = settings_of(body, house.context, besides=["secret"])
    except Invalid as invalid:
        assert all(fault.pointer == "" or fault.pointer.startswith("/") for fault in invalid.faults)
        assert invalid.faults
    else:
        assert isinstance(body, dict) and found.keys() == body.keys()


def test_every_member_is_a_column() -> None:
    assert set(MEMBERS) <= set(Endpoint.__dataclass_fields__)


def test_what_is_needed_is_asked_for(house: House) -> None:
    with pytest.raises(Invalid, match="/url: This is required"):
        settings_of({}, house.context, needed=["url"])
