"""A folder for the files of one process: it goes with the process, at the latest when the next one starts."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

LOCK = "lock"


class Scratch:
    """A new folder in the system's place for such. What killed processes left there is removed."""

    def __init__(self, prefix: str) -> None:
        for left in Path(tempfile.gettempdir()).glob(f"{prefix}*/{LOCK}"):
            _remove_left(left)
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        self._lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove it with all that is in it. Safe to repeat."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _remove_left(lock: Path) -> None:
    """Remove a folder unless somebody holds its lock, or it is somebody else's."""
    with contextlib.suppress(OSError), lock.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # One that is being made has its file, but not yet its lock, for a moment: it has no other file either.
        if len(list(lock.parent.iterdir())) > 1:
            shutil.rmtree(lock.parent, ignore_errors=True)
