"""The judge of traces can say no."""

from __future__ import annotations

from tests.faults.traced import unsynced_answers

FRAME = '41 pwrite64(7</d/t.db-wal>, "7"..., 8216, 32) = 8216'
SYNC = "41 fdatasync(7</d/t.db-wal>) = 0"
ACK = '40 write(12<TCP:[127.0.0.1:1->127.0.0.1:2]>, "HTTP/1.1 202 Accepted", 40) = 40'


def test_an_answer_after_the_sync_of_what_it_acknowledges_is_right() -> None:
    assert unsynced_answers([FRAME, FRAME, SYNC, ACK, FRAME, SYNC, ACK]) == (2, [])


def test_an_answer_before_the_sync_has_ended_is_found() -> None:
    began, ended = "41 fdatasync(7</d/t.db-wal> <unfinished ...>", "41 <... fdatasync resumed>) = 0"
    for lines in ([FRAME, ACK, SYNC], [FRAME, began, ACK, ended], [FRAME, SYNC, FRAME, ACK]):
        answers, early = unsynced_answers(lines)
        assert answers == 1 and len(early) == 1


def test_a_sync_that_failed_or_was_of_another_file_syncs_nothing() -> None:
    for sync in (SYNC.replace("= 0", "= -1 EIO (Input/output error)"), SYNC.replace("-wal", "")):
        assert len(unsynced_answers([FRAME, sync, ACK])[1]) == 1


def test_refusals_acknowledge_nothing() -> None:
    assert unsynced_answers([FRAME, ACK.replace("202", "503")]) == (0, [])
