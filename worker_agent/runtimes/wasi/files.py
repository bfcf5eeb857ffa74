"""What a guest has open: standard input, output and error, and nothing else."""

import io
from collections.abc import Callable
from enum import IntFlag

from worker_agent.runtimes.base import InputStream
from worker_agent.runtimes.streams import Bytes
from worker_agent.runtimes.wasi.errno import Errno, WasiError


class Rights(IntFlag):
    """What a descriptor may be used for (``rights`` in the witx files)."""

    FD_READ = 1 << 1
    FDSTAT_SET_FLAGS = 1 << 3
    FD_WRITE = 1 << 6
    FILESTAT_GET = 1 << 21
    POLL = 1 << 27


_ANY = Rights.FDSTAT_SET_FLAGS | Rights.FILESTAT_GET | Rights.POLL


class InputFile:
    """A stream that the guest reads."""

    rights = Rights.FD_READ | _ANY

    def __init__(self, stream: InputStream) -> None:
        self._stream = stream
        self.flags = 0

    def read_into(self, buffer: memoryview) -> int:
        """Fill a buffer and return how many bytes there were; fewer only at the end. Raises WasiError (IO)."""
        try:
            return self._stream.readinto(buffer) or 0
        except OSError as error:
            raise WasiError(Errno.IO) from error

    def write(self, _data: Bytes) -> None:
        raise WasiError(Errno.BADF)

    def available(self) -> int:
        """Return how many bytes are left to read."""
        position = self._stream.tell()
        end = self._stream.seek(0, io.SEEK_END)
        self._stream.seek(position)
        return end - position


class OutputFile:
    """A stream that the guest writes."""

    rights = Rights.FD_WRITE | _ANY

    def __init__(self, write: Callable[[Bytes], None]) -> None:
        self.write = write
        self.flags = 0

    def read_into(self, _buffer: memoryview) -> int:
        raise WasiError(Errno.BADF)

    def available(self) -> int:
        """Return how many bytes can be written without waiting: any number counts."""
        return 65536


File = InputFile | OutputFile
