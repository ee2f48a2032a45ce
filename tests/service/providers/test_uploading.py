"""Where an uploaded image is, however the answer says it; what says nothing is never guessed."""

from __future__ import annotations

import json

import pytest

from service.providers.base import BadReply, File, Reply, Uploader, UploadRefused
from service.providers.registry import PROVIDERS
from service.providers.uploading import stored_at
from tests.service.providers.builders import account, reply, walk

URL = "https://cdn.example.org/u/1.png"
UPLOADERS = {name: contract for name, contract in PROVIDERS.items() if isinstance(contract, Uploader)}


@pytest.mark.parametrize(
    "body",
    [
        {"url": URL},
        {"success": True, "url": URL},
        {"file_url": URL},
        {"data": {"url": URL}},
        {"data": URL},
        {"result": {"imageUrl": URL}},
        {"files": [{"url": URL}]},
        {"data": {"urls": [URL]}},
        {"file": URL, "id": "7"},
    ],
)
def test_the_url_is_found_in_every_usual_place(body: object) -> None:
    assert stored_at("x", reply(body, 201)) == URL


@pytest.mark.parametrize("body", [{}, {"success": True}, {"url": "javascript:1"}, {"url": 7}, [URL], {"id": "1"}])
def test_a_success_without_a_url_is_said_so(body: object) -> None:
    with pytest.raises(BadReply):
        stored_at("x", reply(body))


def test_bytes_that_are_no_json_are_said_so() -> None:
    with pytest.raises(BadReply):
        stored_at("x", Reply(status=200, body=b"<html>"))


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"error": "too big"}, 413, "HTTP 413: too big"),
        ({"success": False, "message": "no credits"}, 200, "HTTP 200: no credits"),
        ({"error": {"code": "bad_request", "message": "what"}}, 400, "HTTP 400: what"),
        ("<html>", 502, "HTTP 502"),
    ],
)
def test_a_refusal_is_told_in_the_providers_words(body: object, status: int, text: str) -> None:
    with pytest.raises(UploadRefused, match=f"^{text}$"):
        stored_at("x", Reply(status=status, body=json.dumps(body).encode() if body != "<html>" else b"<html>"))


@pytest.mark.parametrize("name", UPLOADERS)
def test_each_uploader_asks_once_with_a_form_and_never_as_a_purchase(name: str) -> None:
    file = File(name="file", filename="image.png", type="image/png", content=b"\x89PNG")
    asked, found = walk(UPLOADERS[name].upload(account(name), file), reply({"url": URL}))
    [ask] = asked
    assert (ask.method, ask.file, ask.body, ask.paid, found) == ("POST", file, None, False, URL)


def test_those_who_take_uploads_are_the_two_that_document_it() -> None:
    assert set(UPLOADERS) >= {"ulazai"} and "cloudsway" not in UPLOADERS
