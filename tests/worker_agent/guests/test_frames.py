"""Frames on their way through a stream of bytes."""

import struct

import pytest
from msgspec.structs import replace

from piecework.http.exchange import Request, Response
from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import JobError, Usage
from piecework.worker_agent.guests.frames import (
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
    Serving,
    pack,
    read_commands,
    read_reports,
)
from piecework.worker_agent.runtimes.base import Bounds
from piecework.worker_agent.tasks import File, Result, Task

TASK = Task(runtime="wasi", codex="/code", checksum="ab", input=b"\0\xff")
COMMANDS = [
    Assign(1, replace(TASK, bounds=Bounds(fuel=5), args=("a", "é"), env={"K": "v"}, seed=b"seed"), "/spool"),
    Assign(2, replace(TASK, input=File("/input")), "/spool", Serving(Request())),
    Recall(1),
    Halt(2),
]
REPORTS = [
    Ready(0),
    Loading(1),
    Loaded(1),
    Logged(1, b"\xfe", 12),
    Done(1, Result(output=b"out", usage=Usage(wall_s=1.5, fuel=3), log=b"log", log_offset=7), Response(200)),
    Done(
        2,
        Result(output=File("/spool"), error=JobError(kind=ErrorKind.TRAP, message="m"), usage=Usage(), unfit=True),
    ),
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
