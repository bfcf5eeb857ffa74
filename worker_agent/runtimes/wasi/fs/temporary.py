"""The directory /tmp of one call: empty at its start, bounded, gone at its end."""

import os
from collections.abc import Callable
from pathlib import Path

from piecework.worker_agent.runtimes.base import Bounds
from piecework.worker_agent.runtimes.services.access import Folder
from piecework.worker_agent.runtimes.trees import remove_tree
from piecework.worker_agent.runtimes.wasi.errno import translated
from piecework.worker_agent.runtimes.wasi.fs.directories import FOLDER, Directory
from piecework.worker_agent.runtimes.wasi.fs.quota import Share

GUEST_PATH = "/tmp"  # noqa: S108  # the guest's, not the node's


_INODES = 1 << 32
"""Where its inodes begin, when they are the same on every node: no job has so many files."""


class TemporaryDirectory(Directory):
    """A folder on the node that is made when the guest first uses it."""

    def __init__(
        self, make: Callable[[], Path], bounds: Bounds, log: Callable[[bytes], object], *, steady: bool = False
    ) -> None:
        """``make`` returns a new folder, which is removed with the directory. Raises OSError. See ``Folder``."""
        self._make = make
        self._path: Path | None = None
        folder = Folder("", GUEST_PATH, write=True, advice="", steady=steady, inodes_from=_INODES)
        super().__init__(-1, Share(folder, bounds, log), granted_as=GUEST_PATH)

    @property
    def descriptor(self) -> int:
        if self._path is None:
            with translated():
                self._path = self._make()
                self._descriptor = os.open(self._path, FOLDER)
        return self._descriptor

    def close(self) -> None:
        if self._path is not None:
            super().close()
            remove_tree(self._path)
            self._path = None
