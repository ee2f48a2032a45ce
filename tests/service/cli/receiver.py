"""A real receiver in a thread, for clients that are not asynchronous: answers as told, keeps what came."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Came = tuple[str, str, dict[str, str], bytes]  # method, path, headers, body
Answer = Callable[[BaseHTTPRequestHandler], None]


class Receiver:
    """`answer`: writes to whoever asked; by default a 204."""

    def __init__(self) -> None:
        self.came: list[Came] = []
        self.answer: Answer = status(204)
        receiver = self

        class Door(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.came.append((self.command, self.path, headers, body))
                self.close_connection = True
                receiver.answer(self)

            do_POST = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


def status(code: int, **headers: str) -> Answer:
    """An answer without a body."""

    def answer(door: BaseHTTPRequestHandler) -> None:
        door.send_response(code)
        for name, value in headers.items():
            door.send_header(name, value)
        door.send_header("content-length", "0")
        door.end_headers()

    return answer


def content(code: int, kind: str, body: bytes) -> Answer:
    """An answer with a body that ends with the connection."""

    def answer(door: BaseHTTPRequestHandler) -> None:
        door.send_response(code)
        door.send_header("content-type", kind)
        door.send_header("connection", "close")
        door.end_headers()
        door.wfile.write(body)

    return answer


@contextmanager
def receiving() -> Iterator[Receiver]:
    found = Receiver()
    thread = threading.Thread(target=found.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield found
    finally:
        found.server.shutdown()
        found.server.server_close()
        thread.join()
