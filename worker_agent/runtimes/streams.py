"""Where a guest's output and log go: both bounded, neither able to fill the agent's memory."""

import contextlib
import threading
from io import BufferedWriter
from pathlib import Path

Bytes = bytes | memoryview
"""What can be written; it is copied at once."""
IN_MEMORY_BYTES = 1024 * 1024
"""An output above this size goes to a scratch file."""


class OutputFullError(Exception):
    """The guest wrote more than it may."""


class ScratchError(Exception):
    """The agent could not write the output to its scratch folder."""


class OutputSpool:
    """Collects an output: in memory while it is small, then in a scratch file."""

    def __init__(self, limit_bytes: int, scratch: str) -> None:
        """Take up to ``limit_bytes``; ``scratch`` is the path where the file goes, should there be one."""
        self.size = 0
        self._limit_bytes = limit_bytes
        self._scratch = scratch
        self._memory = bytearray()
        self._file: BufferedWriter | None = None

    def write(self, data: Bytes) -> None:
        """Append. Raises OutputFullError when that would be too much, ScratchError when the disk fails."""
        if self.size + len(data) > self._limit_bytes:
            raise OutputFullError
        self.size += len(data)
        if self._file is None and self.size <= IN_MEMORY_BYTES:
            self._memory += data
            return
        try:
            self._open_file().write(data)
        except OSError as error:
            raise ScratchError(f"the output could not be stored: {error.strerror}") from error

    def finish(self, at_most: int | None = None) -> bytes | Path:
        """Return the output, or its beginning: the bytes, or the scratch file with them. Raises ScratchError."""
        if self._file is None:
            return bytes(self._memory[:at_most])
        try:
            if at_most is not None and self.size > at_most:
                self._file.truncate(at_most)
            self._file.close()
        except OSError as error:
            raise ScratchError(f"the output could not be stored: {error.strerror}") from error
        return Path(self._scratch)

    def discard(self) -> None:
        """Forget what was written, and remove the scratch file. Safe to repeat."""
        self._memory.clear()
        if self._file is not None:
            Path(self._scratch).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # what is not flushed is not wanted
                self._file.close()
            self._file = None

    def _open_file(self) -> BufferedWriter:
        if self._file is None:
            self._file = Path(self._scratch).open("xb")  # noqa: SIM115  # open until the output ends
            self._file.write(self._memory)
            self._memory.clear()
        return self._file


class KeptOutput(OutputSpool):
    """Collects an output that is never a file: somebody looks at it before it goes on."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes, "")
        self.data = bytearray()

    def write(self, data: Bytes) -> None:
        if len(self.data) + len(data) > self._limit_bytes:
            raise OutputFullError
        self.data += data


class LogTail:
    """Keeps the newest bytes of a log. One thread writes, any thread reads."""

    def __init__(self, limit_bytes: int) -> None:
        self.total = 0
        """Bytes logged in all, kept or not."""
        self._limit_bytes = limit_bytes
        self._kept = bytearray()
        self._lock = threading.Lock()

    def write(self, data: Bytes) -> None:
        """Append; the oldest bytes give way."""
        with self._lock:
            self.total += len(data)
            self._kept += data
            if len(self._kept) > 2 * self._limit_bytes:
                del self._kept[: len(self._kept) - self._limit_bytes]

    def skip_to(self, offset: int) -> None:
        """Note that the bytes between ``total`` and ``offset`` are lost. Nothing happens when there are none."""
        with self._lock:
            if offset > self.total:
                self._kept.clear()
                self.total = offset

    def read(self, since: int = 0, at_most: int | None = None) -> tuple[int, bytes]:
        """Return the newest bytes that came at or after offset ``since``, and the offset where they start."""
        if not self.total:
            return 0, b""
        with self._lock:
            limit = self._limit_bytes if at_most is None else min(at_most, self._limit_bytes)
            size = min(limit, len(self._kept), max(0, self.total - since))
            return self.total - size, bytes(self._kept[len(self._kept) - size :])

    def last_line(self) -> str:
        """Return the last line that is not blank, shortened; empty when there is none."""
        _, end = self.read(at_most=1000)
        lines = end.decode(errors="replace").strip().splitlines()
        return lines[-1].strip()[:300] if lines else ""
