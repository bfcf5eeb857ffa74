"""The way of log lines to an output that may be slow."""

import os

from worker_agent.functions.journal import LINES_MAX, Journal


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
    for _ in range(LINES_MAX + 1000):
        journal.write(b"x" * 100)
    assert journal._pieces.qsize() <= LINES_MAX
    os.close(reader)
    journal.close()
    os.close(writer)
