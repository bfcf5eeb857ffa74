"""Frames on their way through a stream of bytes."""

import struct

import pytest

from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import JobError, Usage
from worker_agent.guests.frames import (
    MAX_FRAME_BYTES,
    Assign,
    Done,
    FrameError,
    Halt,
    Kept,
    Loaded,
    Loading,
    Logged,
    Ready,
    Recall,
    Returned,
    pack,
    read_commands,
    read_reports,
)
from worker_agent.runtimes.base import Bounds

COMMANDS = [
    Assign(1, "wasi", "/code", "ab", b"\0\xff", "", "/spool", Bounds(fuel=5), ("a", "é"), {"K": "v"}, b"seed"),
    Assign(2, "wasi", "/code", "ab", None, "/input", "/spool", Bounds(), (), {}, None),
    Recall(1),
    Halt(2),
]
REPORTS = [
    Ready(0),
    Loading(1),
    Loaded(1),
    Logged(1, b"\xfe", 12),
    Done(1, b"out", False, None, Usage(wall_s=1.5, fuel=3), b"log", 7),
    Done(2, b"", True, JobError(kind=ErrorKind.TRAP, message="m", trace="t"), Usage(), b"", 0, halted=True),
    Returned(3),
    Kept(4),
]


@pytest.mark.parametrize(("frames", "reader"), [(COMMANDS, read_commands), (REPORTS, read_reports)])
def test_frames_survive_the_way_however_it_is_cut(frames, reader):
    data = b"".join(pack(frame) for frame in frames)
    whole, bytewise = reader(), reader()
    assert list(whole.feed(data)) == frames
    assert [frame for byte in data for frame in bytewise.feed(bytes([byte]))] == frames


@pytest.mark.parametrize(
    "data",
    [struct.pack("<I", MAX_FRAME_BYTES + 1), struct.pack("<I", 3) + b"abc", pack(Ready(0))],
    ids=["too long", "no frame", "of the other side"],
)
def test_nonsense_is_an_error(data):
    with pytest.raises(FrameError):
        list(read_commands().feed(data))
