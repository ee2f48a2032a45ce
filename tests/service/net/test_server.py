from __future__ import annotations

import asyncio
import signal
import socket

import pytest

from service.net.connection import Connection
from service.net.server import Server, listen, uvicorn_config


async def nothing(scope: object, receive: object, send: object) -> None: ...


def test_no_line_is_written_of_a_path_that_holds_a_token() -> None:
    config = uvicorn_config(nothing, "127.0.0.1", 0)
    assert config.access_log is False and config.log_config is None


def test_strangers_cannot_name_their_own_address_and_learn_nothing_of_the_server() -> None:
    config = uvicorn_config(nothing, "127.0.0.1", 0)
    config.load()
    assert config.proxy_headers is False
    assert not any(name == b"server" for name, _ in config.encoded_headers)
    assert issubclass(config.http_protocol_class, Connection)


def test_a_stop_does_not_wait_for_ever_on_stuck_clients() -> None:
    assert uvicorn_config(nothing, "127.0.0.1", 0).timeout_graceful_shutdown == 20
    assert uvicorn_config(nothing, "127.0.0.1", 0, timeout_graceful_shutdown=3).timeout_graceful_shutdown == 3


async def empty(scope: object, receive: object, send: object) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})  # type: ignore[operator]
    await send({"type": "http.response.body"})  # type: ignore[operator]


async def test_a_signal_is_not_the_servers_and_its_end_leaves_the_process_alone() -> None:
    ours = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    listener = listen("127.0.0.1", 0)
    address = listener.getsockname()
    server = Server(uvicorn_config(empty, "127.0.0.1", 0))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    async with asyncio.timeout(60):
        await server.ready.wait()
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == ours
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 204")
        server.should_exit = True
        await serving
        writer.close()


def test_a_bound_socket_takes_no_connection_before_a_server_runs() -> None:
    with listen("127.0.0.1", 0) as bound:
        assert bound.getsockname()[1] > 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(bound.getsockname())


def test_a_taken_port_is_an_error_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError):
        listen(*taken.getsockname())


def test_a_name_and_an_ipv6_address_are_places_to_listen() -> None:
    with listen("localhost", 0) as named:
        assert named.getsockname()[0] in ("127.0.0.1", "::1")
    if socket.has_ipv6:
        with listen("::1", 0) as six:
            assert six.family is socket.AF_INET6


async def test_a_stop_answers_whoever_the_kernel_had_let_in_already() -> None:
    listener = listen("127.0.0.1", 0)
    server = Server(uvicorn_config(empty, "127.0.0.1", 0))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    async with asyncio.timeout(60):
        await server.ready.wait()
        # In one go: the loop has no turn between the connections and the end.
        clients = [socket.create_connection(listener.getsockname()) for _ in range(20)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await server.shutdown([listener])
        assert {client.recv(12) for client in clients} == {b"HTTP/1.1 204"}
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(clients[0].getpeername())
        for client in clients:
            client.close()
        serving.cancel()
        await asyncio.wait([serving])
