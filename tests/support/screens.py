"""A terminal that a test can look at."""

import errno
import os
import pty
import termios
import threading
from types import TracebackType
from typing import Self


class Screen:
    """What is written to ``file`` is on a terminal; ``read`` closes it and returns all that came."""

    def __init__(self) -> None:
        self._other, self.file = pty.openpty()
        modes = termios.tcgetattr(self.file)
        modes[1] &= ~termios.OPOST  # line breaks stay what they are
        termios.tcsetattr(self.file, termios.TCSANOW, modes)
        self._seen = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while piece := os.read(self._other, 65_536):
                self._seen += piece
        except OSError as error:
            if error.errno != errno.EIO:  # all who might write have gone
                raise

    def read(self) -> str:
        if self.file >= 0:
            os.close(self.file)
            self.file = -1
            self._reader.join(10)
        return self._seen.decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.read()
        os.close(self._other)
