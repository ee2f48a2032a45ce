"""Which heads are read, as values; over a socket: tests/e2e/test_door.py."""

from __future__ import annotations

import pytest

from service.net import refusals
from service.net.heads import fault_of

HOST = (b"host", b"relay.example.org")


@pytest.mark.parametrize(
    "host",
    [b"x", b"relay.example.org:8080", b"127.0.0.1:80", b"[::1]:8080", b"[fe80::1%25eth0]", b"task_relay:", b"xn--bcher-kva.example", b""],
)  # fmt: skip
def test_a_host_that_names_a_host_is_read(host: bytes) -> None:
    assert fault_of(b"GET", b"/", "1.1", [(b"host", host)]) is None


@pytest.mark.parametrize(
    "host",
    [
        b"a b", b"a, b", b"a,b", b"user@x",
        b"http://x", b"x/y", b"x:80:80", b"x:http", b"x:123456", b"[::1", b"::1", b"x?", b"x#", b"\xff", b"<x>",
    ],
)  # fmt: skip
def test_a_host_that_names_more_is_refused(host: bytes) -> None:
    assert fault_of(b"GET", b"/", "1.1", [(b"host", host)]) is refusals.HOST


def test_there_is_one_host_and_only_the_old_version_may_leave_it_out() -> None:
    assert fault_of(b"GET", b"/", "1.1", []) is refusals.HOST
    assert fault_of(b"GET", b"/", "1.0", []) is None
    for version in ("1.1", "1.0"):
        assert fault_of(b"GET", b"/", version, [HOST, HOST]) is refusals.HOST


@pytest.mark.parametrize("version", ["0.9", "2.0", "1.2", "9.9"])
def test_only_two_versions_are_spoken(version: str) -> None:
    assert fault_of(b"GET", b"/", version, [HOST]) is refusals.VERSION


@pytest.mark.parametrize(
    ("method", "target", "read"),
    [
        (b"GET", b"/v1/tasks?x=1", True),
        (b"GET", b"//x", True),
        (b"GET", b"http://other.example/livez", True),
        (b"GET", b"https://other.example/livez", True),
        (b"OPTIONS", b"*", True),
        (b"GET", b"*", False),
        (b"GET", b"/x#y", False),
        (b"GET", b"ftp://x/y", False),
        (b"GET", b"livez", False),
        (b"GET", b"", False),
    ],
)
def test_a_target_is_a_path_here(method: bytes, target: bytes, read: bool) -> None:
    assert fault_of(method, target, "1.1", [HOST]) is (None if read else refusals.TARGET)


def test_a_tunnel_is_refused() -> None:
    assert fault_of(b"CONNECT", b"/", "1.1", [HOST]) is refusals.METHOD


@pytest.mark.parametrize(
    ("version", "codings", "read"),
    [
        ("1.1", [b"chunked"], True),
        ("1.1", [b"Chunked"], True),
        ("1.1", [b"gzip, chunked"], False),
        ("1.1", [b"chunked, chunked"], False),
        ("1.1", [b"chunked", b"chunked"], False),
        ("1.1", [b"identity"], False),
        ("1.1", [b""], False),
        ("1.0", [b"chunked"], False),
    ],
)
def test_a_body_comes_in_chunks_or_as_it_is(version: str, codings: list[bytes], read: bool) -> None:
    headers = [HOST, *((b"transfer-encoding", coding) for coding in codings)]
    assert fault_of(b"POST", b"/", version, headers) is (None if read else refusals.CODING)
