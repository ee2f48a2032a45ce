from __future__ import annotations

from dataclasses import replace

from tests.service.api.house import House


async def test_links_begin_with_what_is_configured_and_are_relative_without(house: House) -> None:
    token = house.context.tokens.output("task_" + "0" * 26)
    assert house.context.output_url("task_" + "0" * 26) == f"https://relay.example.org/o/{token}"
    assert replace(house.context, public_url=None).output_url("task_" + "0" * 26) == f"/o/{token}"


async def test_no_secret_shows_in_its_repr(house: House) -> None:
    shown = repr(house.context)
    assert "secret-provider-key" not in shown and "kkkk" not in shown
