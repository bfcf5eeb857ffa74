"""The way of log lines to an output that may be slow."""

import os

from screens import Screen

from piecework.worker_agent.serving.log_writer import WAITING_BYTES, LogWriter


def test_texts_are_ended_as_lines_and_keep_their_order():
    reader, writer = os.pipe()
    log_writer = LogWriter(writer)
    for text in (b"one", b"two\n", b"a\nb"):
        log_writer.write(text)
    log_writer.close()
    os.close(writer)
    assert os.read(reader, 100) == b"one\ntwo\na\nb\n"
    os.close(reader)


def test_output_that_nobody_reads_holds_nobody_up():
    reader, writer = os.pipe()
    log_writer = LogWriter(writer)
    piece = b"x" * 65_536
    for _ in range(2 * WAITING_BYTES // len(piece)):
        log_writer.write(piece)
    # One more is on its way.
    assert log_writer._pieces.qsize() * len(piece) <= WAITING_BYTES
    assert log_writer._pieces.qsize() > 1
    os.close(reader)
    log_writer.close()
    os.close(writer)


def test_terminal_obeys_nothing_that_a_guest_logs():
    with Screen() as screen:
        log_writer = LogWriter(screen.file)
        log_writer.write(b"\x1b]0;owned\x07caf\xc3")
        log_writer.write(b"two")
        log_writer.close()
        assert screen.read() == "\\x1b]0;owned\\x07caf\\xc3\ntwo\n"
