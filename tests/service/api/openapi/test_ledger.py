from __future__ import annotations

from service.api.openapi import ledger
from service.api.usage import GROUPS
from service.core.usage import Part
from service.pipeline.audit_part import COUNTS
from tests.service.api import witness


def test_sums_are_of_every_part() -> None:
    costs = ledger.SCHEMAS["Usage"]["properties"]["costs"]["items"]["properties"]
    assert set(costs) == {"unit", "money", *(part.value for part in Part)}


def test_usage_is_grouped_by_what_there_is() -> None:
    parameters = {one["name"]: one for one in ledger.OPERATIONS["GET", "/v1/usage"].parameters}
    schema = parameters["group_by"]["schema"]
    for good in (*GROUPS, "metadata.shop"):
        assert witness.wrong(schema, good, strict=False) == []
    for bad in ("colour", "metadata."):
        assert witness.wrong(schema, bad, strict=False)


def test_the_ledger_counts_what_it_counts() -> None:
    assert set(ledger.SCHEMAS["Audit"]["properties"]["counts"]["properties"]) == set(COUNTS)
