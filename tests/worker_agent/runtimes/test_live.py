"""Streams that pass at once: nothing is lost, and a guest that nobody reads ends."""

import os

import pytest

from piecework.worker_agent.runtimes.live import LiveInput, LiveLog, LiveOutput, LiveWriter, wait_readable
from piecework.worker_agent.runtimes.stopping import StoppedError, StopReason, StopSignal
from piecework.worker_agent.runtimes.wasi.fs.files import InputFile


@pytest.fixture
def pipe():
    ends = list(os.pipe())
    yield ends
    for end in ends:
        if end is not None:
            os.close(end)


def test_input_gives_what_there_is(pipe):
    stream = LiveInput(pipe[0], StopSignal())
    file, buffer = InputFile(stream), bytearray(10)
    assert not file.has_more()
    os.write(pipe[1], b"abc")
    assert (file.has_more(), file.available(), file.find_descriptor()) == (True, 3, pipe[0])
    assert file.read_into(memoryview(buffer)) == 3
    os.close(pipe[1])
    pipe[1] = None
    assert file.read_into(memoryview(buffer)) == 0


def test_guest_that_waits_for_input_can_be_stopped(pipe):
    stop = StopSignal()
    assert wait_readable([pipe[0]], 0.001, stop) == set()
    stop.stop(StopReason.TIMEOUT)
    with pytest.raises(StoppedError):
        LiveInput(pipe[0], stop).readinto(memoryview(bytearray(1)))


def test_output_and_log_pass_at_once(pipe):
    writer = LiveWriter(pipe[1], StopSignal())
    LiveOutput(writer, ends_line=False).write(b"out ")
    log = LiveLog(writer, 3)
    log.write(b"a log without an end")
    assert os.read(pipe[0], 100) == b"out a log without an end"
    assert log.read() == (17, b"end")


@pytest.mark.parametrize(
    ("written", "at_most", "end"),
    [(b"x", None, b"x\n"), (b"x\n", None, b"x\n"), (b"", None, b"\n"), (b"x", 9, b"x")],
)
def test_answer_ends_with_a_line_break(pipe, written, at_most, end):
    output = LiveOutput(LiveWriter(pipe[1], StopSignal()), ends_line=True)
    output.write(written)
    assert output.finish(at_most) == b""
    os.close(pipe[1])
    pipe[1] = None
    assert os.read(pipe[0], 100) == end


def test_guest_stops_that_nobody_reads(pipe):
    stop = StopSignal()
    os.close(pipe[0])
    pipe[0] = None
    LiveWriter(pipe[1], stop).write(b"x")
    assert stop.reason is StopReason.UNREAD
