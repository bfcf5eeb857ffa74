"""Trees of folders that guests made, which may be deeper than any path and any stack of calls reaches."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class TreeEntry(NamedTuple):
    name: str
    is_folder: bool


def remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it, as far as that can be. Nobody may work in it any more."""
    for place, entry in _climb(folder):
        with suppress(OSError):
            (os.rmdir if entry.is_folder else os.unlink)(entry.name, dir_fd=place)
    with suppress(OSError):
        folder.rmdir()


def measure_tree(folder: Path) -> tuple[int, int]:
    """Return how many bytes and entries a folder holds."""
    size = count = 0
    for place, entry in _climb(folder):
        count += 1
        if not entry.is_folder:
            with suppress(OSError):
                size += os.stat(entry.name, dir_fd=place, follow_symlinks=False).st_size
    return size, count


def _climb(folder: Path) -> Iterator[tuple[int, TreeEntry]]:
    """Yield all that is below a folder, what is deeper first, each with the descriptor of its folder."""
    try:
        place = os.open(folder, _FOLDER)
    except OSError:
        return
    way: list[TreeEntry] = []
    try:
        left = [_list(place)]
        while True:
            if left[-1]:
                entry = left[-1].pop()
                if entry.is_folder and (below := _go(place, entry.name)) is not None:
                    os.close(place)
                    place = below
                    way.append(entry)
                    left.append(_list(place))
                else:
                    yield place, entry
            elif way and (above := _go(place, "..")) is not None:
                os.close(place)
                place = above
                left.pop()
                yield place, way.pop()
            else:
                return
    finally:
        os.close(place)


def _list(place: int) -> list[TreeEntry]:
    try:
        with os.scandir(place) as found:
            return [TreeEntry(each.name, each.is_dir(follow_symlinks=False)) for each in found]
    except OSError:
        return []


def _go(place: int, name: str) -> int | None:
    try:
        return os.open(name, _FOLDER, dir_fd=place)
    except OSError:
        return None
