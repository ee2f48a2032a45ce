from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from service.net.client import LARGEST_REPLY, Channel, FateUnknown, NeverSent, ProviderClient
from service.net.dial import boottime
from service.net.guard import Policy
from service.net.resolver import Resolver
from service.providers.base import Ask, BadReply, File, Flow, Reply
from tests.limits import Limits
from tests.service.net.certificates import Authority
from tests.service.net.conftest import LOOPBACK_ALLOWED
from tests.service.net.servers import OK, Behaviour, Peer, Seen, answer_always, closed_port, serving

KEY = "sk-canary-4711"
NAME = "api.provider.test"


@pytest.fixture
async def client(authority: Authority, resolver: Resolver) -> AsyncIterator[ProviderClient]:
    made = ProviderClient(LOOPBACK_ALLOWED, resolver, user_agent="taskrelay/test", ssl_context=authority.client())
    yield made
    await made.aclose()


def channel(port: int, *, scheme: str = "http", host: str = NAME) -> Channel:
    return Channel(name="acme", base_url=f"{scheme}://{host}:{port}/base", api_key=KEY)


def buy(**more: object) -> Flow[Reply]:
    return (yield Ask(method="POST", path="/videos", body={"prompt": "Boot ü", **more}, paid=True))


def poll() -> Flow[Reply]:
    return (yield Ask(method="GET", path="/tasks", query={"ids": "a,b&c"}))


async def test_request_carries_name_key_and_body_and_the_reply_comes_back(client: ProviderClient) -> None:
    async with serving(answer_always) as seen:
        reply = await client.drive(buy(), channel(seen.port), timeout_seconds=30)
        head, _, body = seen.requests[0].partition(b"\r\n\r\n")
    assert (reply.status, reply.body, reply.headers["content-type"]) == (200, b"{}", "application/json")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /base/videos HTTP/1.1"
    assert set(lines[1:]) == {
        f"Host: {NAME}:{seen.port}",
        f"Authorization: Bearer {KEY}",
        "User-Agent: taskrelay/test",
        "Accept: application/json",
        "Accept-Encoding: identity",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    }
    assert body.decode() == '{"prompt":"Boot ü"}'


async def test_a_file_travels_as_a_form_with_its_length(client: ProviderClient) -> None:
    file = File(name="file", filename="image.png", type="image/png", content=b"\x89PNG\r\n\x1a\n")

    def give() -> Flow[Reply]:
        return (yield Ask(method="POST", path="/files", file=file))

    async with serving(answer_always) as seen:
        await client.drive(give(), channel(seen.port), timeout_seconds=30)
        head, _, body = seen.requests[0].partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head.lower()
    assert b"Content-Type: multipart/form-data; boundary=" in head
    assert b'name="file"; filename="image.png"\r\nContent-Type: image/png\r\n\r\n' + file.content in body


async def test_a_preview_is_the_request_with_the_key_masked(client: ProviderClient) -> None:
    ask = next(buy())
    async with serving(answer_always) as seen:
        shown = client.preview(ask, channel(seen.port))
        await client.drive(buy(), channel(seen.port), timeout_seconds=30)
        lines = seen.requests[0].partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    assert (shown.method, shown.url, shown.body) == ("POST", f"http://{NAME}:{seen.port}/base/videos", ask.body)
    sent = dict(line.split(": ", 1) for line in lines)
    assert shown.headers == {**sent, "Authorization": "Bearer ****"}


async def test_query_is_encoded_and_a_get_has_no_body(client: ProviderClient) -> None:
    async with serving(answer_always) as seen:
        await client.drive(poll(), channel(seen.port), timeout_seconds=30)
    assert seen.requests[0].startswith(b"GET /base/tasks?ids=a%2Cb%26c HTTP/1.1\r\n")
    assert b"content-length" not in seen.requests[0].lower()


async def test_repeated_headers_are_joined_and_lower_cased(client: ProviderClient) -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 503 Busy\r\nX-A: 1\r\nRetry-After: 7\r\nx-a: 2\r\nContent-Length: 0\r\n\r\n")

    async with serving(behave) as seen:
        reply = await client.drive(poll(), channel(seen.port), timeout_seconds=30)
    assert reply.status == 503
    assert (reply.headers["x-a"], reply.headers["retry-after"]) == ("1, 2", "7")


async def test_polls_reuse_a_connection_and_purchases_never_do(client: ProviderClient) -> None:
    async with serving(answer_always) as seen:
        for _ in range(3):
            await client.drive(poll(), channel(seen.port), timeout_seconds=30)
        assert seen.connections == 1
        for _ in range(3):
            await client.drive(buy(), channel(seen.port), timeout_seconds=30)
        assert seen.connections == 4


# What may have been bought: one row a fault, on plain TCP and on TLS.


async def accept_then_close(peer: Peer) -> None:
    await peer.request()


async def reset_after_request(peer: Peer) -> None:
    await peer.request()
    peer.reset()


async def partial_header(peer: Peer) -> None:
    await peer.request()
    await peer.say(b"HTTP/1.1 200 OK\r\nContent-Le")


async def drip_header(peer: Peer) -> None:
    await peer.request()
    await peer.say(b"HTTP/1.1 200 OK\r\n")
    await peer.drip(b"X-Drip: 1\r\n")


async def drip_body(peer: Peer) -> None:
    await peer.request()
    await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n")
    await peer.drip(b"x")


async def continue_flood(peer: Peer) -> None:
    await peer.request()
    await peer.drip(b"HTTP/1.1 100 Continue\r\n\r\n")


async def silence(peer: Peer) -> None:
    await peer.request()
    await peer.gone()


async def huge_body(peer: Peer) -> None:
    await peer.request()
    await peer.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await peer.say(b"10000\r\n" + b"x" * 65536 + b"\r\n")


async def huge_header(peer: Peer) -> None:
    await peer.request()
    await peer.say(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        await peer.say(b"x" * 65536)


async def truncated_body(peer: Peer) -> None:
    await peer.request()
    await peer.say(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"id":')


async def gzip_reply(peer: Peer) -> None:
    await peer.request()
    await peer.say(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08")


async def garbage_status_line(peer: Peer) -> None:
    await peer.request()
    await peer.say(b"\x00\xffsk-canary lol\r\n\r\n")


async def http_0_9(peer: Peer) -> None:
    await peer.request()
    await peer.say(b"<html>hello</html>\r\n")


FAULTS: list[Behaviour] = [
    accept_then_close,
    reset_after_request,
    partial_header,
    drip_header,
    drip_body,
    continue_flood,
    silence,
    huge_body,
    huge_header,
    truncated_body,
    gzip_reply,
    garbage_status_line,
    http_0_9,
]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_fate_is_unknown_once_the_request_has_left(
    fault: Behaviour, scheme: str, client: ProviderClient, authority: Authority, limits: Limits
) -> None:
    tls = authority.server(NAME) if scheme == "https" else None
    async with serving(fault, tls=tls) as seen:
        buying = asyncio.create_task(client.drive(buy(), channel(seen.port, scheme=scheme), timeout_seconds=60))
        await seen.asked(buying)
        limits.lapse(buying)
        with pytest.raises(FateUnknown) as caught:
            await buying
        assert (seen.connections, len(seen.requests)) == (1, 1)
    assert "acme: " in str(caught.value)
    assert "sk-canary" not in str(caught.value)


async def test_nothing_was_sent_when_nobody_listens(client: ProviderClient) -> None:
    with pytest.raises(NeverSent, match="acme: could not connect: Connection refused"):
        await client.drive(buy(), channel(closed_port()), timeout_seconds=30)


async def test_nothing_was_sent_when_the_certificate_is_for_another_name(
    client: ProviderClient, authority: Authority
) -> None:
    async with serving(answer_always, tls=authority.server("someone.else.test")) as seen:
        with pytest.raises(NeverSent, match="Hostname mismatch"):
            await client.drive(buy(), channel(seen.port, scheme="https"), timeout_seconds=30)
    assert seen.requests == []


async def test_nothing_was_sent_when_nobody_vouches_for_the_certificate(client: ProviderClient) -> None:
    async with serving(answer_always, tls=Authority().server(NAME)) as seen:
        with pytest.raises(NeverSent, match="TLS failed: "):
            await client.drive(buy(), channel(seen.port, scheme="https"), timeout_seconds=30)
    assert seen.requests == []


async def test_nothing_was_sent_when_the_peer_speaks_no_tls(client: ProviderClient) -> None:
    async def behave(peer: Peer) -> None:
        await peer.say(b"220 smtp ready\r\n")
        await peer.gone()

    async with serving(behave) as seen:
        with pytest.raises(NeverSent, match="TLS failed"):
            await client.drive(buy(), channel(seen.port, scheme="https"), timeout_seconds=30)


async def test_time_that_runs_out_while_connecting_has_sent_nothing(client: ProviderClient) -> None:
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())  # nobody accepts; with a full queue the kernel drops further SYNs
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(full.getsockname())
        with pytest.raises(NeverSent, match="in time"):
            await client.drive(buy(), channel(full.getsockname()[1]), timeout_seconds=0.2)


async def test_time_that_runs_out_during_the_handshake_has_sent_nothing(client: ProviderClient) -> None:
    async def behave(peer: Peer) -> None:
        await peer.gone()

    async with serving(behave) as seen:
        with pytest.raises(NeverSent, match="in time"):
            await client.drive(buy(), channel(seen.port, scheme="https"), timeout_seconds=0.2)


async def test_nothing_was_sent_when_the_name_does_not_resolve(authority: Authority) -> None:
    def fail(host: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    client = ProviderClient(LOOPBACK_ALLOWED, Resolver(lookup=fail), user_agent="x")
    with pytest.raises(NeverSent, match="Name or service not known"):
        await client.drive(buy(), channel(1), timeout_seconds=30)


@pytest.mark.parametrize("answers", [["169.254.169.254"], ["127.0.0.1", "10.0.0.1"], ["93.184.216.34"]])
async def test_plain_http_goes_to_allowed_networks_only(answers: list[str]) -> None:
    client = ProviderClient(LOOPBACK_ALLOWED, Resolver(lookup=lambda host: answers), user_agent="x")
    with pytest.raises(NeverSent, match="resolves to"):
        await client.drive(buy(), channel(1), timeout_seconds=30)


async def test_default_policy_refuses_loopback(resolver: Resolver) -> None:
    client = ProviderClient(Policy(ports=None), resolver, user_agent="x")
    async with serving(answer_always) as seen:
        for base in (f"https://127.0.0.1:{seen.port}", f"https://{NAME}:{seen.port}", f"http://{NAME}:{seen.port}"):
            with pytest.raises(NeverSent):
                await client.drive(buy(), Channel(name="a", base_url=base, api_key=KEY), timeout_seconds=30)
    assert seen.connections == 0


async def test_redirect_is_an_answer_and_not_followed(client: ProviderClient) -> None:
    async with serving(answer_always) as other:

        async def redirect(peer: Peer) -> None:
            await peer.request()
            where = f"http://{NAME}:{other.port}/".encode()
            await peer.say(b"HTTP/1.1 307 Over There\r\nLocation: " + where + b"\r\nContent-Length: 0\r\n\r\n")

        async with serving(redirect) as seen:
            reply = await client.drive(buy(), channel(seen.port), timeout_seconds=30)
    assert reply.status == 307
    assert other.connections == 0


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (huge_body, "the reply is larger than 1048576 bytes"),
        (gzip_reply, "the reply is compressed"),
        (garbage_status_line, "not HTTP"),
        (reset_after_request, "the connection broke: Connection reset by peer"),
    ],
)
async def test_failure_is_found_at_once_and_named(fault: Behaviour, said: str, client: ProviderClient) -> None:
    async with serving(fault) as seen:
        with pytest.raises(FateUnknown, match=said):
            await client.drive(buy(), channel(seen.port), timeout_seconds=30)


async def test_deadline_of_a_purchase_ends_the_wait_for_its_reply(client: ProviderClient, limits: Limits) -> None:
    async with serving(silence) as seen:
        deadline = boottime() + 600
        buying = asyncio.create_task(client.drive(buy(), channel(seen.port), timeout_seconds=3600, deadline=deadline))
        await seen.asked(buying)
        assert limits.left(buying) <= 600
        limits.lapse(buying)
        with pytest.raises(FateUnknown, match="in time"):
            await buying


async def test_largest_reply_is_read_whole(client: ProviderClient) -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGEST_REPLY + b"x" * LARGEST_REPLY)

    async with serving(behave) as seen:
        reply = await client.drive(buy(), channel(seen.port), timeout_seconds=30)
    assert len(reply.body) == LARGEST_REPLY


async def test_environment_proxies_and_cookies_mean_nothing(
    client: ProviderClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")

    async def behave(peer: Peer) -> None:
        while await peer.request():
            await peer.say(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\n{}")

    async with serving(behave) as seen:
        await client.drive(poll(), channel(seen.port), timeout_seconds=30)
        await client.drive(poll(), channel(seen.port), timeout_seconds=30)
    assert b"cookie" not in seen.requests[1].lower()


# The guard.


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_purchase_past_its_deadline_is_never_dialled(
    scheme: str, client: ProviderClient, authority: Authority
) -> None:
    tls = authority.server(NAME) if scheme == "https" else None
    async with serving(answer_always, tls=tls) as seen:
        with pytest.raises(NeverSent):
            await client.drive(buy(), channel(seen.port, scheme=scheme), timeout_seconds=30, deadline=boottime() - 1)
        assert seen.requests == []
        await client.drive(poll(), channel(seen.port, scheme=scheme), timeout_seconds=30, deadline=boottime() - 1)
        assert len(seen.requests) == 1  # a query buys nothing


async def test_worker_that_wakes_up_after_a_handshake_sends_no_byte_of_the_purchase(
    authority: Authority, resolver: Resolver
) -> None:
    now = [0.0]
    received: list[bytes] = []

    async def behave(peer: Peer) -> None:
        now[0] = 1000.0  # paused here: when the client goes on, its deadline has long passed
        received.append(await peer.gone())

    # In TLS 1.2 the server speaks last, so that the pause falls exactly between handshake and request.
    tls = authority.server("twelve.test")
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    client = ProviderClient(
        LOOPBACK_ALLOWED, resolver, user_agent="x", boottime=lambda: now[0], ssl_context=authority.client()
    )
    async with serving(behave, tls=tls) as seen:
        with pytest.raises(NeverSent, match="deadline passed while sending"):
            aim = channel(seen.port, scheme="https", host="twelve.test")
            await client.drive(buy(), aim, timeout_seconds=30, deadline=30.0)
    assert now == [1000.0]
    assert received in ([], [b""])


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_worker_paused_while_sending_sends_no_more_of_the_purchase(
    scheme: str, authority: Authority, resolver: Resolver
) -> None:
    now = [0.0]
    received: list[int] = []
    size = 20_000_000  # more than the sockets' buffers hold, so that the pause finds it half sent

    async def behave(peer: Peer) -> None:
        await peer.reader.readexactly(100_000)
        now[0] = 1000.0
        received.append(100_000)
        while chunk := await peer.reader.read(65536):
            received.append(len(chunk))

    client = ProviderClient(
        LOOPBACK_ALLOWED, resolver, user_agent="x", boottime=lambda: now[0], ssl_context=authority.client()
    )
    tls = authority.server(NAME) if scheme == "https" else None
    async with serving(behave, tls=tls) as seen:
        with pytest.raises(FateUnknown, match="deadline passed while sending"):
            aim = channel(seen.port, scheme=scheme)
            await client.drive(buy(more="x" * size), aim, timeout_seconds=30, deadline=30.0)
    assert 100_000 <= sum(received) < size


async def test_bytes_the_kernel_took_in_time_do_not_arrive_after_we_gave_up(
    client: ProviderClient, limits: Limits
) -> None:
    loop = asyncio.get_running_loop()
    size = 200_000  # fits our send buffer, not the server's small receive buffer
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listening.setblocking(False)
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        buying = asyncio.create_task(
            client.drive(buy(more="x" * size), channel(listening.getsockname()[1]), timeout_seconds=60)
        )
        accepted, _ = await loop.sock_accept(listening)
        with accepted:
            while not select.select([accepted], [], [], 0)[0]:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            for _ in range(20):
                await asyncio.sleep(0.001)  # the rest of it goes into our kernel's buffer
            limits.lapse(buying)
            with pytest.raises(FateUnknown, match="no complete reply in time"):
                await buying
            received = 0
            with pytest.raises(ConnectionResetError):
                while chunk := await loop.sock_recv(accepted, 65536):
                    received += len(chunk)
    assert received < size


# Flows.


async def test_cancelling_is_not_turned_into_an_error_and_hangs_up(client: ProviderClient) -> None:
    arrived, hung_up = asyncio.Event(), asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.request()
        arrived.set()
        with contextlib.suppress(ConnectionResetError):
            await peer.gone()
        hung_up.set()

    async with serving(behave) as seen:
        buying = asyncio.create_task(client.drive(buy(), channel(seen.port), timeout_seconds=30))
        await asyncio.wait_for(arrived.wait(), 30)
        buying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await buying
        await asyncio.wait_for(hung_up.wait(), 30)


async def test_flow_asks_as_often_as_it_likes_and_its_own_errors_pass(client: ProviderClient) -> None:
    ended = []

    def flow() -> Flow[str]:
        try:
            first = yield Ask(method="GET", path="/one")
            second = yield Ask(method="GET", path="/two")
            raise BadReply(f"{first.status} {second.status}")
        finally:
            ended.append(True)

    async with serving(answer_always) as seen:
        with pytest.raises(BadReply, match="200 200"):
            await client.drive(flow(), channel(seen.port), timeout_seconds=30)
    assert ended == [True]
    assert [request.split()[1] for request in seen.requests] == [b"/base/one", b"/base/two"]


async def test_what_follows_a_purchase_never_claims_that_nothing_was_sent(client: ProviderClient) -> None:
    def flow() -> Flow[Reply]:
        yield Ask(method="POST", path="/buy", paid=True)
        return (yield Ask(method="GET", path="/details"))

    async def once(peer: Peer) -> None:
        await peer.request()
        serving_it.close()  # the second connection will be refused
        await peer.say(OK)

    serving_it = await asyncio.start_server(
        lambda reader, writer: _closing(once, Peer(reader, writer, Seen())), "127.0.0.1", 0
    )
    with pytest.raises(FateUnknown, match="after a purchase"):
        await client.drive(flow(), channel(serving_it.sockets[0].getsockname()[1]), timeout_seconds=30)


async def _closing(behave: Behaviour, peer: Peer) -> None:
    await behave(peer)
    peer.writer.close()


async def test_limit_covers_the_whole_flow(client: ProviderClient) -> None:
    def flow() -> Flow[None]:
        while True:
            yield Ask(method="GET", path="/again")

    async with serving(answer_always) as seen:
        with pytest.raises((FateUnknown, NeverSent), match="in time"):
            await client.drive(flow(), channel(seen.port), timeout_seconds=0.2)


@pytest.mark.parametrize(
    "path",
    ["@evil.test/", ".evil.test/", ":1/", "", "evil.test", "/a?b", "/a#b", "/a\\b", "/a b", "/\r\nX: y", "/\ud800"],
)
async def test_adapter_cannot_lead_the_key_elsewhere(path: str, client: ProviderClient) -> None:
    def flow() -> Flow[Reply]:
        return (yield Ask(method="GET", path=path))

    async with serving(answer_always) as seen:
        with pytest.raises(NeverSent):
            await client.drive(flow(), channel(seen.port), timeout_seconds=30)
    assert seen.connections == 0


async def test_double_slash_stays_on_the_account_s_host(client: ProviderClient) -> None:
    def flow() -> Flow[Reply]:
        return (yield Ask(method="GET", path="//evil.test/x"))

    async with serving(answer_always) as seen:
        await client.drive(flow(), channel(seen.port), timeout_seconds=30)
    assert seen.requests[0].startswith(b"GET /base//evil.test/x HTTP/1.1\r\nHost: " + NAME.encode())


@pytest.mark.parametrize("body", [{"a": float("nan")}, {"a": "\ud800"}, {"a": object()}])
async def test_body_that_is_no_json_is_never_sent(body: dict[str, object], client: ProviderClient) -> None:
    async with serving(answer_always) as seen:
        with pytest.raises(NeverSent):
            await client.drive(buy(**body), channel(seen.port), timeout_seconds=30)
    assert seen.connections == 0


@pytest.mark.parametrize("key", ["", "a b", "a\r\nX: y", "schlüssel", "a\n"])
def test_key_that_cannot_be_a_header_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(ValueError, match="API key of account acme") as caught:
        Channel(name="acme", base_url="https://a.test", api_key=key)
    assert not key or key not in str(caught.value)


def test_key_is_not_shown() -> None:
    assert KEY not in repr(channel(1))


async def test_hanging_provider_costs_only_its_own_connections(client: ProviderClient) -> None:
    async with serving(silence) as hanging, serving(answer_always) as healthy:
        waiting = [
            asyncio.create_task(client.drive(poll(), channel(hanging.port), timeout_seconds=30)) for _ in range(100)
        ]
        reply = await client.drive(poll(), channel(healthy.port), timeout_seconds=30)
        assert reply.status == 200
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)


@pytest.mark.parametrize(
    ("key", "kept"),
    [(KEY, b'{"message":"bad key **** (****)"}'), ("sandbox", b'{"message":"bad key sandbox (sandbox)"}')],
)
async def test_a_provider_that_quotes_our_key_is_kept_without_it(key: str, kept: bytes, client: ProviderClient) -> None:
    """What it says goes into the timeline. A short word may be a part of anything and is left as it is."""

    async def quoting(peer: Peer) -> None:
        head = await peer.request()
        [stated] = [line for line in head.split(b"\r\n") if line.startswith(b"Authorization")]
        said = stated.split()[-1]
        body = b'{"message":"bad key %b (%b)"}' % (said, said)
        await peer.say(b"HTTP/1.1 401 No\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async with serving(quoting) as seen:
        reply = await client.drive(buy(), replace(channel(seen.port), api_key=key), timeout_seconds=30)
    assert (reply.status, reply.body) == (401, kept)
