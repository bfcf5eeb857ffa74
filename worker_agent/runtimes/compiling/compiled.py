"""Compiled modules on disk, shared by all the processes of a node that compile the same way."""

import contextlib
import fcntl
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class CompiledStore:
    """Machine code by the checksum of the code that it was compiled from.

    A file holds the machine code of one module, and its name ends with the SHA-256 of its own bytes: a damaged
    file is never run. Files are written under another name and renamed, never changed: a process that has one
    mapped would die. The folder must be private, for whoever can write there can run code in our process.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def find(self, key: str) -> Path | None:
        """Return the sound file stored under ``key``, and note that it was used; None when there is none."""
        for path in sorted(self._shelf(key).glob(f"{key}.*.cwasm")):
            with contextlib.suppress(OSError):
                if self._is_sound(path):
                    return path
                path.unlink(missing_ok=True)
        return None

    def add(self, key: str, machine_code: bytes) -> Path:
        """Store machine code under ``key`` and return its file. Raises OSError."""
        digest = hashlib.sha256(machine_code).hexdigest()
        path = self._shelf(key) / f"{key}.{digest}.cwasm"
        part = self._shelf(key) / f"{key}.{secrets.token_hex(8)}.part"
        try:
            with part.open("xb") as file:
                file.write(machine_code)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return path

    def find_or_make(self, key: str, make: Callable[[], bytes]) -> Path:
        """Return the file stored under ``key``. When there is none, one process makes it and the others wait.

        Raises OSError, and what ``make`` raises.
        """
        found = self.find(key)
        if found is not None:
            return found
        with self._locked(key):
            return self.find(key) or self.add(key, make())

    def locate_note(self, key: str, subject: str) -> Path:
        """Return where a note about ``key`` belongs, which is evicted as machine code is."""
        return self._shelf(key) / f"{key}.{subject}"

    def drop(self, path: Path) -> None:
        """Remove a file that turned out to be of no use. Safe to repeat."""
        path.unlink(missing_ok=True)

    def _shelf(self, key: str) -> Path:
        """Return the part of the folder where a key belongs: it is listed for each load."""
        shelf = self._folder / key[:2]
        shelf.mkdir(mode=0o700, exist_ok=True)
        return shelf

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        path = self._shelf(key) / f"{key}.lock"
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Whoever waited has the old file's lock and looks into the store before it compiles.
            yield
            path.unlink(missing_ok=True)

    @staticmethod
    def _is_sound(path: Path) -> bool:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != path.name.split(".")[-2]:
                return False
        os.utime(path)
        return True
