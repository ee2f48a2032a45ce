from __future__ import annotations

import socket
import ssl

import httpx
import pytest

from service.cli.doctor.trying import look_with, why


def wrapped(cause: Exception) -> httpx.ConnectError:
    error = httpx.ConnectError("it failed")
    error.__cause__ = ExceptionGroup("all addresses", [OSError("one"), cause])
    return error


@pytest.mark.parametrize(("error", "text", "line"), [
    (wrapped(socket.gaierror(-2, "x")), "its name has no address", "dig +short relay.example"),
    (wrapped(ssl.SSLError(1, "x")), "its TLS certificate does not hold", "openssl s_client -connect relay.example:443"),
    (wrapped(ConnectionRefusedError()), "nobody listens there", "curl -v https://relay.example/"),
    (httpx.ReadTimeout("slow"), "no answer within 10 s", "curl -v https://relay.example/"),
    (httpx.RemoteProtocolError("half an answer"), "the connection broke: half an answer", "curl -v "),
])  # fmt: skip
def test_what_went_wrong_is_said_in_words_with_a_line_that_shows_it(error: Exception, text: str, line: str) -> None:
    told, tool = why(error)
    assert told.startswith(text)
    assert look_with(tool, "https://relay.example/callbacks/x").startswith(line)
