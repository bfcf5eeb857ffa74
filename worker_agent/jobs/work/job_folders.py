"""Directories that jobs have alone: of each lease at most two, which go with it."""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from piecework.protocol.messages import LeaseRef
from piecework.worker_agent.runtimes.trees import remove_tree

Files = Mapping[str, Path | None]
"""Files by their paths in a directory; None is an empty file."""
_INPUTS, _OWN = "inputs", "own"
LEASES_MAX = 10_000
"""An agent holds fewer at a time."""


class JobFolders:
    """Makes the directories. Its methods may be called from any thread."""

    def __init__(self, root: Path) -> None:
        """Begin without any: those of an earlier process are of no use. Raises OSError."""
        self._root = root
        self._made: dict[tuple[int, str], list[Path]] = {}
        """Those of the newest leases. Most have none, and to look on the disk for each would cost too much."""
        remove_tree(root)
        root.mkdir(mode=0o700, parents=True)

    def make_inputs(self, ref: LeaseRef, files: Files) -> Path:
        """Return a new directory that a guest may read. Raises OSError.

        The files are the cache's own wherever its file system can give them a second name.
        """
        folder = self._make(ref, _INPUTS)
        for name, path in files.items():
            try:
                _link(path, folder / name)
            except OSError:  # another file system, or too many names for one file
                _copy(path, folder / name)
        return folder

    def make_own(self, ref: LeaseRef, files: Files) -> Path:
        """Return a new directory in which a guest may write: its files are copies. Raises OSError."""
        folder = self._make(ref, _OWN)
        for name, path in files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(path, target)
        return folder

    def release(self, refs: Iterable[LeaseRef]) -> None:
        """Remove the directories of leases, those that there are. Safe to repeat."""
        for ref in refs:
            for folder in self._made.get((ref.job, ref.lease), ()):
                remove_tree(folder)

    def _make(self, ref: LeaseRef, what: str) -> Path:
        folder = self._root / f"{ref.job}-{ref.lease}.{what}"
        self._made.setdefault((ref.job, ref.lease), []).append(folder)
        for old in list(self._made)[:-LEASES_MAX]:
            del self._made[old]
        folder.mkdir(mode=0o700)
        return folder


def _link(path: Path | None, target: Path) -> None:
    if path is None:
        target.touch(mode=0o600)
    else:
        os.link(path, target)


def _copy(path: Path | None, target: Path) -> None:
    if path is None:
        target.touch()
    else:
        shutil.copyfile(path, target)
