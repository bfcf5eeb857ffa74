"""Places where blob stores keep bytes, and what tests do to them behind a store's back.

Another kind of store joins the suite in ``tests/server/blobs`` with a class that has these methods.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from piecework.server.blobs import BlobStore
from piecework.server.blobs.directory import DirectoryStore


class DirectoryPlace:
    """A directory on a disk."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self._monkeypatch = monkeypatch

    def open(self, limit_bytes: int = 1 << 40, monotonic: Callable[[], float] = time.monotonic) -> BlobStore:
        """Return a store over this place, as one of several servers has it."""
        return DirectoryStore(self.root, limit_bytes, monotonic)

    def count(self) -> int:
        """Return how many things lie there: blobs, and what was left of others."""
        return len(self._files())

    def age(self, seconds: float) -> None:
        """Make all that is there so much older."""
        for path in self._files():
            then = path.stat().st_mtime - seconds
            os.utime(path, (then, then))

    def lose(self, sha256: bytes) -> None:
        """Take a blob away."""
        [path] = self.root.rglob(sha256.hex())
        path.unlink()

    def damage(self, sha256: bytes) -> None:
        """Change a byte of a blob."""
        [path] = self.root.rglob(sha256.hex())
        path.write_bytes(path.read_bytes()[:-1] + b"?")

    def die_in_upload(self) -> None:
        """Leave what a server leaves that dies while it receives a blob."""
        (self.root / "incoming" / "0123").write_bytes(b"the first part")

    @contextmanager
    def full(self) -> Iterator[None]:
        """Let nothing more be stored: what is written goes to a device that is always full."""

        def new_path(store: DirectoryStore) -> Path:
            path = store._incoming / f"full-{time.monotonic_ns()}"
            path.symlink_to("/dev/full")
            return path

        with self._monkeypatch.context() as patch:
            patch.setattr(DirectoryStore, "new_path", new_path)
            yield

    @contextmanager
    def unwritable(self) -> Iterator[None]:
        """Let nothing be stored, for another reason than a full disk."""
        incoming = self.root / "incoming"
        incoming.rmdir()
        yield
        incoming.mkdir()

    @contextmanager
    def at_each_flush(self, call: Callable[[], None]) -> Iterator[None]:
        """Call something before each time when written bytes are made safe."""
        flush = os.fsync

        def fsync(descriptor: int) -> None:
            call()
            flush(descriptor)

        with self._monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            yield

    def _files(self) -> list[Path]:
        return [path for path in self.root.rglob("*") if not path.is_dir()]
