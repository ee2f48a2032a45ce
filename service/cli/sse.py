"""Server-sent events as they come off the wire: bytes in, blocks out.

Lines end at line feeds and nowhere else: httpx's own lines also end at U+2028, which a prompt may hold.
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

LONGEST = 1 << 20  # of a block; the largest event has a quarter of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What stands between two empty lines. `data` None: no event, a sign of life that may name a place."""

    id: str | None = None
    event: str | None = None
    data: bytes | None = None


class Blocks:
    """Takes the stream apart, wherever the network cut it."""

    def __init__(self) -> None:
        self._rest = b""
        self._size = 0
        self._fields: dict[bytes, bytes] = {}

    def feed(self, part: bytes) -> Iterator[Block]:
        """The blocks that are whole by now. Raises ValueError when one grows beyond all measure."""
        *lines, self._rest = (self._rest + part).split(b"\n")
        for line in lines:
            line = line.removesuffix(b"\r")
            if not line:
                yield self._block()
                continue
            self._size += len(line)
            self._bound(self._size)
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data" and name in self._fields:
                value = self._fields[name] + b"\n" + value
            self._fields[name] = value
        self._bound(self._size + len(self._rest))

    def _block(self) -> Block:
        fields, self._fields, self._size = self._fields, {}, 0
        return Block(id=_text(fields.get(b"id")), event=_text(fields.get(b"event")), data=fields.get(b"data"))

    def _bound(self, size: int) -> None:
        if size > LONGEST:
            raise ValueError(f"an event of more than {LONGEST} bytes")


def _text(raw: bytes | None) -> str | None:
    return raw.decode("utf-8", errors="replace") if raw else None
