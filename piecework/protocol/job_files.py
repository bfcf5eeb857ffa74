"""Files that jobs get and give back: how these may be called, and patterns that choose some of them."""

import fnmatch
import hashlib
import re
from collections.abc import Iterable, Sequence

FILES_MAX = 1000
"""Files that one job gets, and as many that it gives back."""
PATTERNS_MAX = 50
"""Patterns of one job."""
PATH_BYTES = 500
NAME_BYTES = 200
"""Of each part of a path."""
PARTS_MAX = 32
PATH_RULE = (
    f"a path is relative, without ., .. and control characters, with at most {PARTS_MAX} parts of {NAME_BYTES} "
    f"bytes and {PATH_BYTES} bytes in all"
)
_FAULT = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")
_DEEP = "**"


def is_path(text: str) -> bool:
    """Tell whether a file of a job can be called so."""
    parts = text.split("/")
    return (
        _FAULT.search(text) is None
        and len(text.encode()) <= PATH_BYTES
        and len(parts) <= PARTS_MAX
        and not any(part in {"", ".", ".."} or len(part.encode()) > NAME_BYTES for part in parts)
    )


def is_pattern(text: str) -> bool:
    """Tell whether something is a pattern: a path with ``*``, ``?`` and ``[…]`` in it, and ``**`` as a part.

    ``**`` stands for any number of folders; a slash at the end for all that is below.
    """
    return is_path(text.removesuffix("/"))


def find_clash(paths: Iterable[str]) -> str | None:
    """Return a path that would have to be a file and a folder; None when all can be there together."""
    known = set(paths)
    for path in sorted(known):
        for place, char in enumerate(path):
            if char == "/" and path[:place] in known:
                return path[:place]
    return None


def sum_files(files: Iterable[tuple[str, str]]) -> str:
    """Return one SHA-256 for some files, each a path and the SHA-256 of its bytes, in hex.

    It is that of the lines which ``sha256sum`` prints for them, sorted by path.
    """
    lines = [f"{digest}  {path}\n" for path, digest in sorted(files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


Reached = frozenset[tuple[int, int]]
"""How much of patterns is behind a walk: pairs of a pattern and a number of parts. Empty: none can fit here."""


class Patterns:
    """Says which files fit any of some patterns, step by step with a walk through folders."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = [_read(pattern) for pattern in patterns]
        self.start = self._settle({(number, 0) for number in range(len(patterns))})

    def enter(self, reached: Reached, name: str) -> Reached:
        """Return where a folder of this name leads to."""
        return self._settle(self._step(reached, name))

    def fits(self, reached: Reached, name: str) -> bool:
        """Tell whether a file of this name fits, in the folder that a walk has come to."""
        return any(done == len(self._patterns[number]) for number, done in self._step(reached, name))

    def _step(self, reached: Reached, name: str) -> set[tuple[int, int]]:
        stepped = set()
        for number, done in reached:
            pattern = self._patterns[number]
            if done < len(pattern):
                part = pattern[done]
                if part is None:
                    stepped.add((number, done))
                elif part.match(name):
                    stepped.add((number, done + 1))
        return stepped

    def _settle(self, reached: set[tuple[int, int]]) -> Reached:
        """Add what is reached without a step, where any number of folders may stand."""
        settled = set(reached)
        for number, done in reached:
            pattern = self._patterns[number]
            while done < len(pattern) and pattern[done] is None:
                settled.add((number, done := done + 1))
        return frozenset(each for each in settled if each[1] < len(self._patterns[each[0]]))


def _read(pattern: str) -> list[re.Pattern[str] | None]:
    """Return the parts of a pattern; None is any number of folders."""
    parts = pattern.removesuffix("/").split("/")
    if pattern.endswith("/"):
        parts.append(_DEEP)
    if parts[-1] == _DEEP:
        parts.append("*")
    return [None if part == _DEEP else re.compile(fnmatch.translate(part)) for part in parts]
