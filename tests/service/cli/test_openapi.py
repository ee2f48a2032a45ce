from __future__ import annotations

import json

import pytest

from service.cli.openapi import openapi


def test_the_document_is_printed_whole_and_for_the_address_that_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    openapi(url="https://relay.example.com/")
    document = json.loads(capsys.readouterr().out)
    assert document["servers"] == [{"url": "https://relay.example.com"}]
    assert (
        document["openapi"] == "3.1.0" and "/v1/tasks" in document["paths"] and "task.succeeded" in document["webhooks"]
    )
