"""A folder for the files of one process: it goes with the process, at the latest when the next one starts."""

import contextlib
import fcntl
import os
import tempfile
import time
from pathlib import Path

from piecework.worker_agent.runtimes.trees import remove_tree

LOCK = "lock"
MAKING_S = 60.0
"""Nobody takes so long to make a folder."""


class Scratch:
    """A new folder in the system's place for such. What killed processes left there is removed."""

    def __init__(self, prefix: str) -> None:
        for left in Path(tempfile.gettempdir()).glob(f"{prefix}*/{LOCK}"):
            _remove_left(left)
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        self._lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def make_folder(self) -> Path:
        """Return a new folder in it. Raises OSError."""
        return Path(tempfile.mkdtemp(dir=self.path))

    def remove(self) -> None:
        """Remove it with all that is in it. Safe to repeat."""
        remove_tree(self.path)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _remove_left(lock: Path) -> None:
    """Remove a folder unless somebody holds its lock, or it is somebody else's."""
    with contextlib.suppress(OSError), lock.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # One that is being made has its file, but not yet its lock, for a moment: it has no other file either.
        if len(list(lock.parent.iterdir())) > 1 or lock.stat().st_mtime < time.time() - MAKING_S:
            remove_tree(lock.parent)


class LazyScratch:
    """A folder that is made when somebody first wants a place in it."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._scratch: Scratch | None = None

    def make_folder(self) -> Path:
        """Return a new folder in it. Raises OSError."""
        if self._scratch is None:
            self._scratch = Scratch(self._prefix)
        return self._scratch.make_folder()

    def remove(self) -> None:
        """Remove it with all that is in it. Safe to repeat."""
        if self._scratch is not None:
            self._scratch.remove()
