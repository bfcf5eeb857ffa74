"""Moving large blobs from one store to another."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from piecework.server.blobs.store import BlobStore
from piecework.server.errors import BlobDamaged, BlobNotFound

AT_ONCE = 4
"""Blobs that move at the same time: each waits for its answers."""
STEP = 100
ANY_AGE_S = -1e9


@dataclass
class BlobsMoved:
    """What came of a move."""

    blobs: int = 0
    """How many were copied."""
    bytes: int = 0
    """How large those are together."""
    known: int = 0
    """How many were in the other place already."""
    damaged: list[str] = field(default_factory=list)
    """Names of those whose bytes are not theirs; they stay where they are."""


def move_blobs(source: BlobStore, target: BlobStore, *, keep: bool) -> BlobsMoved:
    """Copy all blobs, and take each away from where it was once it is safe, unless ``keep``.

    Safe to repeat, and while servers work that look in both places. Raises BlobsAway or StorageFull; what was
    moved by then stays moved.
    """
    moved = BlobsMoved()
    left = source.walk()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while step := list(islice(left, STEP)):
            for sha256, size in zip(step, pool.map(partial(_move, source, target, keep=keep), step), strict=True):
                _note(moved, sha256, size)
    return moved


def _note(moved: BlobsMoved, sha256: bytes, size: int | None) -> None:
    if size is None:
        moved.damaged.append(sha256.hex())
    elif size:
        moved.blobs += 1
        moved.bytes += size
    else:
        moved.known += 1


def _move(source: BlobStore, target: BlobStore, sha256: bytes, *, keep: bool) -> int | None:
    """Move one blob. Returns how many bytes were copied, 0 when it was there or is gone; None: it is damaged."""
    copied = 0
    try:
        with source.open(sha256) as reader:
            if target.find_size(sha256) != reader.size:
                copied = reader.size
                with target.receive(0) as writer:
                    for piece in reader:
                        writer.write(piece)
                    if writer.finish().sha256 != sha256:
                        return None
    except BlobDamaged:
        return None
    except BlobNotFound:
        return 0
    if not keep:
        source.remove(sha256, ANY_AGE_S, lambda _: False)
    return copied
