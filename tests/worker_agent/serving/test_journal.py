"""The way of log lines to an output that may be slow."""

import os

from screens import Screen

from worker_agent.serving.journal import WAITING_BYTES, Journal


def test_texts_are_ended_as_lines_and_keep_their_order():
    reader, writer = os.pipe()
    journal = Journal(writer)
    for text in (b"one", b"two\n", b"a\nb"):
        journal.write(text)
    journal.close()
    os.close(writer)
    assert os.read(reader, 100) == b"one\ntwo\na\nb\n"
    os.close(reader)


def test_output_that_nobody_reads_holds_nobody_up():
    reader, writer = os.pipe()
    journal = Journal(writer)
    piece = b"x" * 65_536
    for _ in range(2 * WAITING_BYTES // len(piece)):
        journal.write(piece)
    # One more is on its way.
    assert journal._pieces.qsize() * len(piece) <= WAITING_BYTES
    assert journal._pieces.qsize() > 1
    os.close(reader)
    journal.close()
    os.close(writer)


def test_terminal_obeys_nothing_that_a_guest_logs():
    with Screen() as screen:
        journal = Journal(screen.file)
        journal.write(b"\x1b]0;owned\x07caf\xc3")
        journal.write(b"two")
        journal.close()
        assert screen.read() == "\\x1b]0;owned\\x07caf\\xc3\ntwo\n"
