"""Folders with the files that jobs get from others: one for each lease, which goes with it."""

import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from piecework.protocol.messages import LeaseRef


class InputFolders:
    """Makes the folders. Its methods may be called from any thread.

    The files are the cache's own wherever its file system can give them a second name; guests can only read them.
    """

    def __init__(self, root: Path) -> None:
        """Begin without any folder: those of an earlier process are of no use. Raises OSError."""
        self._root = root
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(mode=0o700, parents=True)

    def make(self, ref: LeaseRef, files: Mapping[str, Path | None]) -> Path:
        """Return a new folder for a lease, with files by their names; None is an empty file. Raises OSError."""
        folder = self._place(ref)
        folder.mkdir(mode=0o700)
        for name, path in files.items():
            target = folder / name
            if path is None:
                target.touch(mode=0o600)
                continue
            try:
                os.link(path, target)
            except OSError:  # another file system, or too many names for one file
                shutil.copyfile(path, target)
        return folder

    def release(self, refs: Iterable[LeaseRef]) -> None:
        """Remove the folders of leases, those that there are. Safe to repeat."""
        for ref in refs:
            with suppress(FileNotFoundError):
                shutil.rmtree(self._place(ref))

    def _place(self, ref: LeaseRef) -> Path:
        return self._root / f"{ref.job}-{ref.lease}"
