from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.cli.sse import LONGEST, Block, Blocks

WIRE = (
    b": hello\nretry: 2000\nid: cursor\n\n"
    b'id: evt_1\nevent: task.failed\ndata: {"text":"na\xc3\xafve \xe2\x80\xa8 \xc2\x85 end"}\n\n'
    b": still here\n\n"
    b"id:evt_2\r\nevent:task.succeeded\r\ndata:{}\r\ndata:{}\r\n\r\n"
    b"id: evt_3\ndata: cut"
)
READ = [
    Block(id="cursor"),
    Block(id="evt_1", event="task.failed", data='{"text":"naïve \u2028 \x85 end"}'.encode()),
    Block(),
    Block(id="evt_2", event="task.succeeded", data=b"{}\n{}"),
]


@given(st.lists(st.integers(0, len(WIRE)), max_size=12).map(sorted))
def test_blocks_are_the_same_wherever_the_network_cuts(places: list[int]) -> None:
    blocks, found = Blocks(), list[Block]()
    for start, end in zip([0, *places], [*places, len(WIRE)], strict=True):
        found += blocks.feed(WIRE[start:end])
    assert found == READ  # what was cut off in the middle is no event


@pytest.mark.parametrize("part", [b"data: " + b"x" * LONGEST, b"data: x\n" * (LONGEST // 6)])
def test_a_block_that_never_ends_is_not_kept(part: bytes) -> None:
    with pytest.raises(ValueError, match="an event of more than"):
        list(Blocks().feed(part))
