"""What guests log, on its way to the standard output: nobody who is slow to read it holds a call up."""

import contextlib
import os
import queue
import threading

LINES_MAX = 10_000
"""So many pieces wait at most; what comes then is dropped."""
CLOSE_S = 1.0


class Journal:
    """Writes whole lines, in the order in which they come. Safe in any thread."""

    def __init__(self, file: int = 1) -> None:
        self._file = file
        self._pieces: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def write(self, text: bytes) -> None:
        """Write a text, ended as a line."""
        if self._pieces.qsize() < LINES_MAX:
            self._pieces.put(text if text.endswith(b"\n") else text + b"\n")

    def close(self) -> None:
        """Write what waits, within a second. Nothing may be written any more."""
        self._pieces.put(b"")
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while piece := self._pieces.get():
            # Nobody reads any more: there is no other place to say so.
            with contextlib.suppress(OSError):
                while piece:
                    piece = piece[os.write(self._file, piece) :]
