"""What guests log, on its way to the standard output: nobody who is slow to read it holds a call up."""

import contextlib
import os
import queue
import threading
from collections.abc import Iterator

from piecework.terminal.texts import escape_pieces

WAITING_BYTES = 8 * 1024 * 1024
"""So much waits at most; what comes then is dropped."""
CLOSE_S = 1.0


class LogWriter:
    """Writes whole lines, in the order in which they come. Safe in any thread."""

    def __init__(self, file: int = 1) -> None:
        self._file = file
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._pieces: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def write(self, text: bytes) -> None:
        """Write a text, ended as a line."""
        piece = text if text.endswith(b"\n") else text + b"\n"
        with self._lock:
            if self._waiting_bytes + len(piece) > WAITING_BYTES:
                return
            self._waiting_bytes += len(piece)
        self._pieces.put(piece)

    def close(self) -> None:
        """Write what waits, within a second. Nothing may be written any more."""
        self._pieces.put(b"")
        self._thread.join(CLOSE_S)

    def _take(self) -> Iterator[bytes]:
        while piece := self._pieces.get():
            with self._lock:
                self._waiting_bytes -= len(piece)
            yield piece

    def _run(self) -> None:
        for each in escape_pieces(self._take()) if os.isatty(self._file) else self._take():
            piece = each
            # Nobody reads any more: there is no other place to say so.
            with contextlib.suppress(OSError):
                while piece:
                    piece = piece[os.write(self._file, piece) :]
