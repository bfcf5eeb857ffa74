"""Where output and log go."""

import pytest

from piecework.worker_agent.runtimes.streams import (
    IN_MEMORY_BYTES,
    LogTail,
    OutputFullError,
    OutputSpool,
    ScratchError,
)


@pytest.fixture
def spool(tmp_path):
    return OutputSpool(3 * IN_MEMORY_BYTES, str(tmp_path / "out"))


def test_small_output_stays_in_memory(spool, tmp_path):
    spool.write(b"a" * (IN_MEMORY_BYTES - 1))
    spool.write(b"b")
    assert spool.finish() == b"a" * (IN_MEMORY_BYTES - 1) + b"b"
    assert list(tmp_path.iterdir()) == []


def test_large_output_goes_to_the_scratch_file_whole(spool, tmp_path):
    spool.write(b"a" * IN_MEMORY_BYTES)
    spool.write(b"b")
    spool.write(b"c")
    assert spool.finish() == tmp_path / "out"
    assert (tmp_path / "out").read_bytes() == b"a" * IN_MEMORY_BYTES + b"bc"


def test_output_up_to_the_limit_is_taken_and_not_a_byte_more(spool):
    spool.write(b"a" * 3 * IN_MEMORY_BYTES)
    with pytest.raises(OutputFullError):
        spool.write(b"b")
    assert spool.finish().stat().st_size == 3 * IN_MEMORY_BYTES


def test_discarded_output_leaves_no_file(spool, tmp_path):
    spool.write(b"a" * (IN_MEMORY_BYTES + 1))
    spool.discard()
    spool.discard()
    assert list(tmp_path.iterdir()) == []


def test_disk_that_fails_is_the_workers_fault(tmp_path):
    spool = OutputSpool(3 * IN_MEMORY_BYTES, str(tmp_path / "no" / "such" / "folder"))
    with pytest.raises(ScratchError, match="No such file"):
        spool.write(b"a" * (IN_MEMORY_BYTES + 1))


def test_full_disk_is_noticed_at_the_end_at_the_latest():
    # This device takes nothing: every write that reaches it fails as on a full disk.
    spool = OutputSpool(3 * IN_MEMORY_BYTES, "/dev/full")
    spool._file = open("/dev/full", "wb")  # noqa: PTH123, SIM115  # closed by the spool
    spool.write(b"a" * 100)
    with pytest.raises(ScratchError, match="No space left"):
        spool.finish()


def test_log_keeps_the_newest_bytes():
    log = LogTail(10)
    for number in range(100):
        log.write(b"%02d" % number)
    assert log.read() == (190, b"9596979899")
    assert log.total == 200


def test_log_is_read_from_where_it_was_read_last():
    log = LogTail(10)
    log.write(b"abc")
    assert log.read(0) == (0, b"abc")
    assert log.read(3) == (3, b"")
    log.write(b"de")
    assert log.read(3) == (3, b"de")
    assert log.read(0, at_most=2) == (3, b"de")


def test_log_with_a_gap_begins_after_it():
    log = LogTail(10)
    log.write(b"abc")
    log.skip_to(50)
    log.write(b"de")
    assert log.read() == (50, b"de")
    log.skip_to(3)
    assert log.read() == (50, b"de")


def test_log_of_no_bytes_keeps_none():
    log = LogTail(0)
    log.write(b"abc")
    assert (log.read(), log.last_line()) == ((3, b""), "")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"", ""),
        (b"one", "one"),
        (b"one\n  two \n\n \n", "two"),
        (b"caf\xe9\n", "caf�"),
        (b"x" * 5000, "x" * 300),
    ],
)
def test_last_line_is_the_last_that_says_something(text, line):
    log = LogTail(10_000)
    log.write(text)
    assert log.last_line() == line
