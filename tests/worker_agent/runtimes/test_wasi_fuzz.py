"""Random trees and paths: what a guest finds is what the kernel finds beneath the folder.

The kernel is the model: ``openat2`` with ``RESOLVE_BENEATH`` refuses each path that leads out, at any time.
"""

import ctypes
import os
import random
import struct

import pytest
from wasi_hand import CREATE, WRITE

from piecework.worker_agent.runtimes.wasi.errno import Errno

TREES = 40
PATHS = 60
STEPS = 150
FOLLOW = 1
NAMES = ["a", "b", "c", "d"]
PARTS = [*NAMES, *NAMES, "..", "..", ".", "", "shared", "secret"]
_OPENAT2 = 437
_BENEATH = 0x08
_HOW = struct.Struct("<QQQ")
_libc = ctypes.CDLL(None, use_errno=True)


def look_beneath(folder, path, *, follow):
    """Return the inode to which the kernel finds its way; None: it finds none, or it leads out."""
    flags = os.O_PATH | os.O_CLOEXEC | (0 if follow or path.endswith(b"/") else os.O_NOFOLLOW)
    how = _HOW.pack(flags, 0, _BENEATH)
    found = _libc.syscall(_OPENAT2, folder, path, how, _HOW.size)
    if found < 0:
        return None
    inode = os.fstat(found).st_ino
    os.close(found)
    return inode


def _write(guest, path, _other):
    file = guest.open(path, WRITE, CREATE)
    if not isinstance(file, Errno):
        guest.write(file, b"written")
        guest.close(file)


ACTS = [
    lambda guest, one, _: guest.on("path_create_directory", one),
    lambda guest, one, _: guest.on("path_remove_directory", one),
    lambda guest, one, _: guest.on("path_unlink_file", one),
    lambda guest, one, _: guest.set_times(one, 1, 1, 5, lookup=FOLLOW),
    lambda guest, one, other: guest.rename(one, other),
    lambda guest, one, other: guest.link(one, other),
    lambda guest, one, other: guest.symlink(one, other),
    _write,
]


@pytest.fixture
def beneath(shared):
    folder = os.open(shared, os.O_RDONLY | os.O_DIRECTORY)
    if look_beneath(folder, b"a", follow=True) is None:
        os.close(folder)
        pytest.skip("this kernel has no openat2")
    yield folder
    os.close(folder)


def make_path(chance, most=5):
    path = "/".join(chance.choices(PARTS, k=chance.randint(1, most)))
    return path if chance.random() < 0.95 else f"/{path}"


def plant(chance, top):
    """Put folders, files and links into a folder; some links lead out of it, in all ways that there are."""
    folders = [top]
    for _ in range(20):
        place = chance.choice(folders) / chance.choice(NAMES)
        if place.is_symlink() or place.exists():
            continue
        kind = chance.random()
        if kind < 0.4:
            place.mkdir()
            folders.append(place)
        elif kind < 0.5:
            place.write_text("file")
        else:
            place.symlink_to(make_path(chance, 5) or ".")


@pytest.mark.parametrize("seed", range(TREES))
def test_guest_finds_what_the_kernel_finds_beneath(hand, shared, beneath, seed):
    chance = random.Random(seed)
    (shared / "a").unlink()
    plant(chance, shared)
    guest = hand()
    for _ in range(PATHS):
        path, follow = make_path(chance).encode(), chance.random() < 0.7
        found = guest.stat(path, lookup=FOLLOW if follow else 0)
        inode = None if isinstance(found, Errno) else found[1]
        assert inode == look_beneath(beneath, path, follow=follow), (path, follow, found)


@pytest.mark.parametrize("seed", range(TREES // 4))
def test_nothing_outside_changes_whatever_a_guest_does(hand, shared, seed):
    chance = random.Random(seed)
    plant(chance, shared)
    guest = hand()
    for _ in range(STEPS):
        act = chance.choice(ACTS)
        act(guest, make_path(chance).encode(), make_path(chance, 4).encode())
    assert sorted(each.name for each in shared.parent.iterdir()) == ["secret", "shared"]
    assert (shared.parent / "secret").read_bytes() == b"secret"
    assert (shared.parent / "secret").stat().st_nlink == 1
    assert (shared.parent / "secret").stat().st_mtime > 1
