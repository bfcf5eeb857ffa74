"""Streams that a guest shares with whoever runs it by hand: what it reads and writes passes at once, whole."""

import contextlib
import io
import os
import select
from collections.abc import Iterable

from piecework.terminal.streams import StreamFailed
from piecework.terminal.texts import TerminalFilter
from piecework.worker_agent.runtimes.stopping import StopReason, StopSignal
from piecework.worker_agent.runtimes.streams import Bytes, LogTail, OutputSpool, ScratchError

SLICE_S = 0.05
"""How late a guest may be stopped that waits for its input."""


def wait_readable(descriptors: Iterable[int], seconds: float, stop: StopSignal) -> set[int]:
    """Wait until some of these can be read, or have ended, and return them; negative seconds: any time.

    Raises StoppedError when the guest must stop.
    """
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    left_s = seconds
    while True:
        stop.check()
        wait_s = SLICE_S if left_s < 0 else min(SLICE_S, left_s)
        ready = poll.poll(wait_s * 1000)
        if ready or left_s == 0:
            return {descriptor for descriptor, _ in ready}
        if left_s > 0:
            left_s = max(0.0, left_s - wait_s)


class LiveInput(io.FileIO):
    """Standard input as it comes. It gives less than it is asked for whenever there is no more yet."""

    def __init__(self, descriptor: int, stop: StopSignal) -> None:
        super().__init__(descriptor, "rb", closefd=False)
        self._stop = stop

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Wait for bytes, unless the buffer is empty; 0: there are no more."""
        if not len(buffer):
            return 0
        while True:
            wait_readable([self.fileno()], -1, self._stop)
            with contextlib.suppress(BlockingIOError):  # another program made it so
                return super().readinto(buffer) or 0

    def is_ready(self) -> bool:
        """Tell whether a read would not wait."""
        return bool(wait_readable([self.fileno()], 0, self._stop))


class LiveWriter:
    """Writes to a stream, harmlessly to a terminal. When nobody reads it any more, its guest is stopped."""

    def __init__(self, descriptor: int, stop: StopSignal) -> None:
        self._descriptor = descriptor
        self._stop = stop
        self._filter = TerminalFilter() if os.isatty(descriptor) else None

    def write(self, data: Bytes) -> None:
        """Write all of it; waits for who reads. Raises OSError for a disk that is full, and the like."""
        self._pour(data if self._filter is None else self._filter.feed(bytes(data)))

    def close(self) -> None:
        """Write what a terminal did not get yet: half a character."""
        if self._filter is not None:
            self._pour(self._filter.feed(b"", final=True))

    def _pour(self, data: Bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [], SLICE_S)
            except BrokenPipeError:
                self._stop.stop(StopReason.UNREAD)
                return


class LiveOutput(OutputSpool):
    """An output that goes where it belongs as it is written. There is no limit: nothing of it is kept."""

    def __init__(self, writer: LiveWriter, *, ends_line: bool) -> None:
        super().__init__(0, "")
        self._writer = writer
        self._ends_line = ends_line
        self._last = b"\n"

    def write(self, data: Bytes) -> None:
        self.size += len(data)
        if len(data):
            self._last = bytes(data[-1:])
        try:
            self._writer.write(data)
        except OSError as error:
            raise ScratchError(str(StreamFailed("stdout", error))) from error

    def finish(self, at_most: int | None = None) -> bytes:
        """End the last line, if somebody wants that: of a whole output, also of an empty one."""
        if self._ends_line and at_most is None and (self._last != b"\n" or not self.size):
            self.write(b"\n")
        with contextlib.suppress(OSError):
            self._writer.close()
        return b""


class LiveLog(LogTail):
    """A log that is written as it comes, every byte of it; its end is kept, too, to tell why a guest failed."""

    def __init__(self, writer: LiveWriter, limit_bytes: int) -> None:
        super().__init__(limit_bytes)
        self._writer = writer

    def write(self, data: Bytes) -> None:
        with contextlib.suppress(OSError):  # there is no other place to say so
            self._writer.write(data)
        super().write(data)
