from __future__ import annotations

from service.api.openapi import providers
from service.pipeline.accounts import Callbacks
from service.providers.registry import PROVIDERS


def test_closed_sets_are_the_codes_own() -> None:
    assert providers.SCHEMAS["Provider"]["properties"]["name"]["enum"] == list(PROVIDERS)
    mode = providers.SCHEMAS["Account"]["properties"]["callbacks"]["properties"]["mode"]
    assert mode["enum"] == [word.value for word in Callbacks]


def test_a_file_travels_in_a_form() -> None:
    body = providers.OPERATIONS["POST", "/v1/uploads"].body
    assert body is not None and body.media_type == "multipart/form-data"
    assert body.schema["required"] == ["file"]
