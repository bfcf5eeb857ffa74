"""Files that a job gives back: which there are in its directory, and opening them. No link is followed.

A guest may have made anything there: links, pipes, names that are no text, and trees deeper than any path. What is
deeper than a file that is given back may be is not looked at.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from piecework.protocol.job_files import FILES_MAX, PARTS_MAX, Patterns, is_path
from piecework.worker_agent.errors import AgentError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe in the place of a file must not keep anybody waiting.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class TooMuchError(AgentError):
    """The job gives back more than it may."""


class FoundFile(NamedTuple):
    """A file that fits."""

    name: str
    """Its path in the directory."""
    size: int
    """Bytes."""


class Collection(NamedTuple):
    """The files of a directory that fit some patterns, in the order of their names."""

    files: list[FoundFile]
    left_out: int
    """How many fit besides, but have names that no file may have that is given back."""

    def cut(self, at_most_bytes: int) -> "Collection":
        """Return the first of the files, as many as have so many bytes together."""
        kept, left = [], at_most_bytes
        for file in self.files:
            if (left := left - file.size) < 0:
                break
            kept.append(file)
        return self._replace(files=kept)


def collect(folder: Path, patterns: Sequence[str], limit_bytes: int) -> Collection:
    """Return the files that fit any of the patterns.

    Raises TooMuchError when they are too many or have more than ``limit_bytes``: a file may have many names; and
    OSError when the directory cannot be read.
    """
    found: list[FoundFile] = []
    left_out = size = 0
    for file in _walk(folder, Patterns(patterns)):
        if not is_path(file.name):
            left_out += 1
            continue
        found.append(file)
        size += file.size
        if len(found) > FILES_MAX:
            raise TooMuchError(f"more than {FILES_MAX} files fit `outputs`")
        if size > limit_bytes:
            raise TooMuchError(
                f"the files that fit `outputs` have more than {limit_bytes} bytes (--max-files-size)"
            )
    return Collection(sorted(found), left_out)


@contextmanager
def open_file(folder: Path, name: str) -> Iterator[BinaryIO]:
    """Open a file that was found. Raises OSError, also when something else is in its place meanwhile."""
    *folders, last = name.split("/")
    with _open_folder(folder, folders) as place:
        descriptor = os.open(last, _FILE, dir_fd=place)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{name} is no file any more")
        yield file


def _walk(root: Path, patterns: Patterns) -> Iterator[FoundFile]:
    left: list[tuple[list[str], frozenset[tuple[int, int]]]] = [([], patterns.start)]
    while left:
        parts, reached = left.pop()
        with _open_folder(root, parts) as place, os.scandir(place) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    below = patterns.enter(reached, entry.name)
                    if below and len(parts) + 1 < PARTS_MAX:
                        left.append(([*parts, entry.name], below))
                elif entry.is_file(follow_symlinks=False) and patterns.fits(reached, entry.name):
                    size = entry.stat(follow_symlinks=False).st_size
                    yield FoundFile("/".join([*parts, entry.name]), size)


@contextmanager
def _open_folder(root: Path, parts: Sequence[str]) -> Iterator[int]:
    """Open a folder step by step, following no link, and yield its descriptor."""
    place = os.open(root, _FOLDER)
    try:
        for part in parts:
            outer, place = place, os.open(part, _FOLDER, dir_fd=place)
            os.close(outer)
        yield place
    finally:
        os.close(place)
