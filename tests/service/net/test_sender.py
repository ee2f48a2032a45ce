from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_network

import aiohttp
import pytest

from service.net.dial import AddressBlocked
from service.net.guard import Policy
from service.net.resolver import Resolver
from service.net.sender import Sender, Sent, classify, readable
from tests.limits import Limits
from tests.service.net.certificates import Authority
from tests.service.net.conftest import LOOPBACK_ALLOWED
from tests.service.net.servers import OK, Behaviour, Peer, answer_always, closed_port, serving

HEADERS = {"content-type": "application/json", "webhook-id": "evt_1"}
NAME = "hooks.subscriber.test"


@pytest.fixture
async def sender(authority: Authority, resolver: Resolver) -> AsyncIterator[Sender]:
    made = Sender(
        LOOPBACK_ALLOWED, resolver, user_agent="taskrelay/test", timeout_seconds=60, ssl_context=authority.client()
    )
    yield made
    await made.aclose()


@pytest.fixture
async def hasty(authority: Authority, resolver: Resolver) -> AsyncIterator[Sender]:
    made = Sender(LOOPBACK_ALLOWED, resolver, user_agent="x", timeout_seconds=0.2, ssl_context=authority.client())
    yield made
    await made.aclose()


def saying(text: bytes) -> Behaviour:
    async def behave(peer: Peer) -> None:
        while await peer.request():
            await peer.say(text)

    return behave


def outcome(sent: Sent) -> tuple[int | None, str | None]:
    return sent.status_code, sent.error_class


async def test_exactly_the_given_bytes_and_headers_arrive(sender: Sender) -> None:
    body = b'{"type":"task.succeeded"}\n'
    async with serving(answer_always) as seen:
        sent = await sender.post(f"http://{NAME}:{seen.port}/hook%2Fa?b=%C3%BC", body, HEADERS)
    assert (sent.status_code, sent.error_class, sent.retry_after, sent.response_head) == (200, None, None, "{}")
    head, _, arrived = seen.requests[0].partition(b"\r\n\r\n")
    assert arrived == body
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post /hook%2fa?b=%c3%bc http/1.1"
    assert set(lines[1:]) == {
        f"host: {NAME}:{seen.port}",
        "user-agent: taskrelay/test",
        "accept: */*",
        "accept-encoding: identity",
        "content-type: application/json",
        "webhook-id: evt_1",
        f"content-length: {len(body)}",
    }


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", OK]
)
async def test_connection_is_used_again_and_its_name_is_resolved_once(answer: bytes) -> None:
    asked: list[str] = []

    def look_up(host: str) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"]

    resolver = Resolver(lookup=look_up)
    sender = Sender(LOOPBACK_ALLOWED, resolver, user_agent="x")
    async with serving(saying(answer)) as seen:
        for _ in range(3):
            assert (await sender.post(f"http://{NAME}:{seen.port}/", b"{}", HEADERS)).error_class is None
        await sender.aclose()
    assert (seen.connections, len(seen.requests), asked) == (1, 3, [NAME])
    resolver.close()


async def test_a_kept_connection_that_the_peer_let_go_of_is_no_attempt(sender: Sender) -> None:
    async def behave(peer: Peer) -> None:
        first = peer.seen.connections == 1
        while await peer.request():
            await peer.say(OK)
            if first:
                await peer.request()  # on its way when the server's patience ended
                return

    async with serving(behave) as seen:
        for number in range(2):
            sent = await sender.post(f"http://{NAME}:{seen.port}/", b"{}", {"webhook-id": f"evt_{number}"})
            assert outcome(sent) == (200, None)
    assert (seen.connections, len(seen.requests)) == (2, 3)
    lost, again = (one.lower().replace(b"connection: close\r\n", b"") for one in seen.requests[1:])
    assert lost == again


async def test_a_connection_that_was_made_for_the_request_is_not_replaced(sender: Sender) -> None:
    """Also not the second one: a peer that hangs up each time gets one request more than attempts, and not one after another."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        if peer.seen.connections == 1:
            await peer.say(OK)
            await peer.request()

    async with serving(behave) as seen:
        outcomes = [outcome(await sender.post(f"http://{NAME}:{seen.port}/", b"{}", HEADERS)) for _ in range(3)]
    assert outcomes == [(200, None), (None, "reset"), (None, "reset")]
    assert len(seen.requests) == 1 + 2 + 1


async def test_a_peer_that_began_to_answer_is_not_asked_again(sender: Sender) -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.say(OK)
        await peer.request()
        await peer.say(b"HTTP/1.1 ")

    async with serving(behave) as seen:
        outcomes = [outcome(await sender.post(f"http://{NAME}:{seen.port}/", b"{}", HEADERS)) for _ in range(2)]
    assert outcomes == [(200, None), (None, "reset")]
    assert len(seen.requests) == 2


@pytest.mark.parametrize(
    ("status", "error_class"),
    [(200, None), (201, None), (299, None), (300, "http"), (404, "http"), (410, "http"), (500, "http"), (999, "http")],
)
async def test_only_2xx_is_success(status: int, error_class: str | None, sender: Sender) -> None:
    async with serving(saying(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)) as seen:
        sent = await sender.post(f"http://{NAME}:{seen.port}/", b"{}", HEADERS)
    assert outcome(sent) == (status, error_class)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (b"120", "120"),
        (b"Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:28:00 GMT"),
        (b"-1", "-1"),
        (b"9" * 400, None),
    ],
)
async def test_retry_after_is_handed_on_as_text_within_bounds(value: bytes, kept: str | None, sender: Sender) -> None:
    answer = b"HTTP/1.1 429 Slow\r\nRetry-After: " + value + b"\r\nContent-Length: 0\r\n\r\n"
    async with serving(saying(answer)) as seen:
        sent = await sender.post(f"http://{NAME}:{seen.port}/", b"{}", HEADERS)
    assert (outcome(sent), sent.retry_after) == ((429, "http"), kept)


# Classes of failure.


async def test_refused(sender: Sender) -> None:
    sent = await sender.post(f"http://{NAME}:{closed_port()}/", b"{}", HEADERS)
    assert outcome(sent) == (None, "refused")


async def reset(peer: Peer) -> None:
    await peer.request()
    peer.reset()


async def hang_up(peer: Peer) -> None:
    await peer.request()


async def hang_up_in_the_header(peer: Peer) -> None:
    await peer.request()
    await peer.say(b"HTTP/1.1 200 OK\r\nContent-")


@pytest.mark.parametrize("behave", [reset, hang_up, hang_up_in_the_header], ids=lambda behave: behave.__name__)
async def test_reset(behave: Behaviour, sender: Sender) -> None:
    async with serving(behave) as seen:
        sent = await sender.post(f"http://{NAME}:{seen.port}/", b"{}", HEADERS)
    assert outcome(sent) == (None, "reset")
    assert len(seen.requests) == 1


async def test_name_that_does_not_resolve_is_no_refusal() -> None:
    def fail(host: str) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    sender = Sender(Policy(), Resolver(lookup=fail), user_agent="x")
    assert outcome(await sender.post("https://gone.test/", b"{}", HEADERS)) == (None, "dns")
    await sender.aclose()


async def test_tls_certificate_that_nobody_vouches_for(sender: Sender) -> None:
    async with serving(answer_always, tls=Authority().server(NAME)) as seen:
        sent = await sender.post(f"https://{NAME}:{seen.port}/", b"{}", HEADERS)
    assert (outcome(sent), seen.requests) == ((None, "tls"), [])


async def test_two_names_on_one_address_do_not_share_a_connection(sender: Sender, authority: Authority) -> None:
    async with serving(answer_always, tls=authority.server(NAME)) as seen:
        good = await sender.post(f"https://{NAME}:{seen.port}/", b"{}", HEADERS)
        other = await sender.post(f"https://other.test:{seen.port}/", b"{}", HEADERS)
        again = await sender.post(f"https://{NAME}:{seen.port}/", b"{}", HEADERS)
    assert [outcome(good), outcome(other), outcome(again)] == [(200, None), (None, "tls"), (200, None)]
    assert len(seen.requests) == 2


async def test_peer_that_speaks_no_tls(sender: Sender) -> None:
    async def behave(peer: Peer) -> None:
        await peer.say(b"220 smtp ready\r\n")
        await peer.gone()

    async with serving(behave) as seen:
        sent = await sender.post(f"https://{NAME}:{seen.port}/", b"{}", HEADERS)
    assert outcome(sent) == (None, "tls")


async def silence(peer: Peer) -> None:
    await peer.request()
    await peer.gone()


async def drip_header(peer: Peer) -> None:
    await peer.request()
    await peer.say(b"HTTP/1.1 200 OK\r\n")
    await peer.drip(b"X-Drip: 1\r\n")


async def continue_flood(peer: Peer) -> None:
    await peer.request()
    await peer.drip(b"HTTP/1.1 100 Continue\r\n\r\n")


@pytest.mark.parametrize("behave", [silence, drip_header, continue_flood], ids=lambda behave: behave.__name__)
async def test_whole_attempt_is_limited(behave: Behaviour, hasty: Sender) -> None:
    loop = asyncio.get_running_loop()
    ended: list[bool] = []
    async with serving(behave) as seen:
        posting = asyncio.create_task(hasty.post(f"http://{NAME}:{seen.port}/", b"{}", HEADERS))
        await seen.asked(posting)
        # Timers of one loop go off in their order, however late: no limit on a measured time.
        loop.call_later(0.7, lambda: ended.append(posting.done() or posting.cancelling() > 0))
        sent = await asyncio.wait_for(posting, 60)
        while not ended:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert outcome(sent) == (None, "timeout")
    assert sent.duration_ms >= 190
    assert ended == [True]  # aiohttp alone would have rounded 0.2 s up to 1 s


@pytest.mark.parametrize(("status", "error_class"), [(200, None), (500, "http")])
async def test_status_stands_whatever_the_body_does_afterwards(
    status: int, error_class: str | None, sender: Sender, limits: Limits
) -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 %d X\r\nContent-Length: 9999\r\n\r\n" % status)
        await peer.drip(b"x")

    async with serving(behave) as seen:
        posting = asyncio.create_task(sender.post(f"http://{NAME}:{seen.port}/", b"{}", HEADERS))
        await seen.asked(posting)
        assert not posting.done()
        limits.lapse(posting)
        sent = await posting
    assert outcome(sent) == (status, error_class)


async def truncate(peer: Peer) -> None:
    await peer.request()
    await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nhello")


async def test_broken_body_keeps_what_came(sender: Sender) -> None:
    async with serving(truncate) as seen:
        sent = await sender.post(f"http://{NAME}:{seen.port}/", b"{}", HEADERS)
    assert (outcome(sent), sent.response_head) == ((200, None), "hello")


@pytest.mark.parametrize(
    "url",
    [
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/",
        "https://[::ffff:10.0.0.1]/",
        "https://metadata.google.internal/",
        "ftp://example.com/",
        "https://user:pass@example.com/",
        "not a url",
        "",
        "https://2130706433/",
        "https://example.com/\ud800",
    ],
)
async def test_forbidden_urls_are_blocked(url: str, sender: Sender) -> None:
    assert outcome(await sender.post(url, b"{}", HEADERS)) == (None, "blocked")


@pytest.mark.parametrize("answers", [["10.0.0.1"], ["127.0.0.1", "169.254.169.254"], ["93.184.216.34"]])
async def test_plain_http_goes_to_allowed_networks_only(answers: list[str]) -> None:
    sender = Sender(LOOPBACK_ALLOWED, Resolver(lookup=lambda host: answers), user_agent="x")
    async with serving(answer_always) as seen:
        assert outcome(await sender.post(f"http://{NAME}:{seen.port}/", b"{}", HEADERS)) == (None, "blocked")
    assert seen.connections == 0
    await sender.aclose()


async def test_name_that_turns_inward_is_blocked_at_the_next_connection(authority: Authority) -> None:
    answers = [["127.0.0.1"], ["169.254.169.254"]]
    resolver = Resolver(lookup=lambda host: answers.pop(0))
    sender = Sender(LOOPBACK_ALLOWED, resolver, user_agent="x", ssl_context=authority.client())

    async def once(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    async with serving(once, tls=authority.server(NAME)) as seen:
        first = await sender.post(f"https://{NAME}:{seen.port}/", b"{}", HEADERS)
        second = await sender.post(f"https://{NAME}:{seen.port}/", b"{}", HEADERS)
    assert [outcome(first), outcome(second)] == [(204, None), (None, "blocked")]
    await sender.aclose()


@pytest.mark.parametrize("headers", [{"x": "a\r\nb: c"}, {"x\r\n": "a"}, {"x": "\x00"}])
async def test_header_that_would_split_the_request_is_not_sent(headers: dict[str, str], sender: Sender) -> None:
    async with serving(answer_always) as seen:
        sent = await sender.post(f"http://{NAME}:{seen.port}/", b"{}", headers)
    assert outcome(sent) == (None, "blocked")
    assert seen.requests == []


@pytest.mark.parametrize("answer", [b"\x00\xff\r\n\r\n", b"<html>HTTP/0.9</html>\r\n\r\n", b"HTTP/1.1 banana\r\n\r\n"])
async def test_what_is_not_http_says_so(answer: bytes, sender: Sender) -> None:
    async with serving(saying(answer)) as seen:
        assert outcome(await sender.post(f"http://{NAME}:{seen.port}/", b"{}", HEADERS)) == (None, "http")


async def test_endless_header_is_cut_off(sender: Sender) -> None:
    sent_bytes = 0

    async def behave(peer: Peer) -> None:
        nonlocal sent_bytes
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            await peer.say(b"x" * 4096)
            sent_bytes += 4096

    async with serving(behave) as seen:
        assert outcome(await sender.post(f"http://{NAME}:{seen.port}/", b"{}", HEADERS)) == (None, "http")
    assert sent_bytes < 20_000_000


async def test_redirect_is_not_followed(sender: Sender) -> None:
    async with serving(answer_always) as other:
        where = f"http://{NAME}:{other.port}/".encode()
        redirect = b"HTTP/1.1 302 Found\r\nLocation: " + where + b"\r\nContent-Length: 0\r\n\r\n"
        async with serving(saying(redirect)) as seen:
            sent = await sender.post(f"http://{NAME}:{seen.port}/", b"{}", HEADERS)
    assert (outcome(sent), other.connections) == ((302, "http"), 0)


async def test_compressed_answer_is_neither_decoded_nor_shown(sender: Sender) -> None:
    # A decoder would choke on this, and give the connection up.
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\n\r\nnot gzi"
    async with serving(saying(answer)) as seen:
        for _ in range(2):
            sent = await sender.post(f"http://{NAME}:{seen.port}/", b"{}", HEADERS)
            assert (outcome(sent), sent.response_head) == ((200, None), None)
    assert seen.connections == 1


async def test_huge_answer_is_read_to_the_cap_only(sender: Sender) -> None:
    written = 0

    async def behave(peer: Peer) -> None:
        nonlocal written
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        while written < 100_000_000:
            await peer.say(b"x" * 65536)
            written += 65536

    async with serving(behave) as seen:
        sent = await sender.post(f"http://{NAME}:{seen.port}/", b"{}", HEADERS)
        again = await sender.post(f"http://{NAME}:{seen.port}/", b"{}", HEADERS)
    assert outcome(sent) == outcome(again) == (200, None)
    assert sent.response_head == "x" * 1024
    assert seen.connections == 2
    assert written < 50_000_000  # what the kernel's buffers took; the rest was never read


async def test_cookies_and_environment_proxies_mean_nothing(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    async with serving(saying(b"HTTP/1.1 204 X\r\nSet-Cookie: a=b; Path=/\r\n\r\n")) as seen:
        await sender.post(f"http://{NAME}:{seen.port}/", b"{}", HEADERS)
        await sender.post(f"http://{NAME}:{seen.port}/", b"{}", HEADERS)
    assert len(seen.requests) == 2
    assert b"cookie" not in seen.requests[1].lower()


async def test_cancelling_is_the_only_thing_that_is_raised(sender: Sender) -> None:
    arrived = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.request()
        arrived.set()
        await peer.gone()

    async with serving(behave) as seen:
        posting = asyncio.create_task(sender.post(f"http://{NAME}:{seen.port}/", b"{}", HEADERS))
        await asyncio.wait_for(arrived.wait(), 60)
        posting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await posting


async def test_address_is_judged_even_when_no_resolver_was_asked(authority: Authority) -> None:
    """A literal reaches no resolver in aiohttp: the socket itself must refuse."""
    sender = Sender(Policy(ports=None), Resolver(), user_agent="x")
    session = sender._open(Policy(ports=None))
    async with serving(answer_always) as seen:
        with pytest.raises(aiohttp.ClientConnectorError) as caught:
            await session.post(f"http://127.0.0.1:{seen.port}/", data=b"{}")
    assert seen.connections == 0
    assert isinstance(caught.value.os_error, AddressBlocked)
    assert classify(caught.value) == "blocked"
    await session.close()


async def test_localhost_works_when_the_operator_allows_it() -> None:
    def nobody(host: str) -> Sequence[str]:
        raise AssertionError(f"asked for {host}")

    policy = Policy(allow=(ip_network("127.0.0.0/8"),), ports=None)
    sender = Sender(policy, Resolver(lookup=nobody), user_agent="x")
    async with serving(answer_always) as seen:
        assert outcome(await sender.post(f"http://localhost:{seen.port}/", b"{}", HEADERS)) == (200, None)
    await sender.aclose()


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"plain", "plain"),
        (b"a\r\nb\tc", "a\nb\tc"),
        (b"\x1b[31mred\x00\x07", "\ufffd[31mred\ufffd\ufffd"),
        ("\u202egnp.exe".encode(), "\ufffdgnp.exe"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"x" * 5000, "x" * 1024),
        (b"", ""),
    ],
)
def test_strangers_bytes_become_readable_text(raw: bytes, shown: str) -> None:
    assert readable(raw) == shown


async def test_many_urls_do_not_grow_memory_without_bound(sender: Sender) -> None:
    for number in range(5000):
        await sender.post(f"https://10.0.0.1/{number}", b"", HEADERS)
        sender._aim(f"http://{NAME}/{number}")
    assert sender._aim.cache_info().currsize <= 4096
