"""What every store of large blobs is to its callers, wherever it keeps the bytes."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from mmap import mmap
from typing import Self

from piecework.server.errors import BodyTooLarge

PIECE_BYTES = 256 * 1024
"""Blobs are read in pieces of this size."""
TRIED_BYTES = 4096
"""Of what is stored to find out whether anything can be."""


@dataclass(frozen=True, slots=True)
class Received:
    """A blob that was received whole; when it is large, it is in the store already."""

    sha256: bytes
    size: int
    content: bytes | None
    """The bytes when the blob is small; None when the store keeps them."""


@dataclass(frozen=True, slots=True)
class DirectPut:
    """A request with which somebody else may store one blob, for a while: its bytes and no others."""

    url: str
    headers: list[str]
    """Lines of its head."""


class BlobStore(ABC):
    """Large blobs, each under the SHA-256 of its content. Safe to use from several threads and several servers.

    A blob is there whole or not at all, and what is there survives a power cut. As a string it says where that is.
    Every method raises BlobsAway when what keeps the bytes is another machine that does not answer.
    """

    limit_bytes: int
    """No larger blob is received."""

    @abstractmethod
    def receive(self, keep_in_memory_bytes: int) -> "BlobWriter":
        """Return a sink for the bytes of one blob. Up to ``keep_in_memory_bytes`` nothing is stored."""

    @abstractmethod
    def open(self, sha256: bytes, begin: int = 0, end: int | None = None) -> "BlobReader":
        """Return a reader of a blob's bytes, or of those from ``begin`` to before ``end``.

        Raises BlobNotFound. A reader that is open goes on reading when the blob is removed.
        """

    @abstractmethod
    def view(self, sha256: bytes) -> AbstractContextManager[bytes | mmap]:
        """Let the block look at a blob's bytes without having them all in memory. Raises BlobNotFound."""

    @abstractmethod
    def find_size(self, sha256: bytes) -> int | None:
        """Return how many bytes a blob has; None when it is not there."""

    @abstractmethod
    def walk(self) -> Iterator[bytes]:
        """Give the digest of every blob. Of one that comes or goes meanwhile, perhaps."""

    @abstractmethod
    def remove(self, sha256: bytes, age_s: float, is_needed: Callable[[bytes], bool]) -> bool:
        """Remove one blob if ``sweep`` would. Returns whether it did; False also when it is not there."""

    @abstractmethod
    def sweep(self, age_s: float, is_needed: Callable[[bytes], bool]) -> int:
        """Remove blobs that nobody needs, and what broken uploads left. Returns how many of both.

        Only what was received at least ``age_s`` ago is removed: younger blobs may be about to be named. A blob
        that is received again while ``is_needed`` decides is young.
        """

    def sign_get(self, sha256: bytes) -> str | None:  # noqa: ARG002  # for stores that can
        """Return a URL with which whoever has it gets a blob for a while; None when there are none here."""
        return None

    def sign_put(self, sha256: bytes, size: int) -> DirectPut | None:  # noqa: ARG002
        """Return how somebody else may store a blob by themselves; None when that is not possible here."""
        return None

    def checks_digests(self) -> bool:
        """Try whether bytes of another digest are refused that somebody else stores here."""
        return False

    def has_young(self, sha256: bytes, size: int) -> bool:  # noqa: ARG002
        """Return whether somebody stored a blob just now, by themselves: nothing removes it before it is named."""
        return False

    @abstractmethod
    def check_space(self) -> None:
        """Return at once when there is room, as far as that is known. Raises StorageFull."""

    @abstractmethod
    def try_out(self) -> None:
        """Store something small and forget it. Raises StorageFull or BlobsAway when that is not possible."""


class BlobReader(ABC):
    """Bytes of a blob, in order. Close it, use it as a context manager, or give it to who closes it."""

    size: int
    """Of the whole blob, whatever part of it is read."""

    @abstractmethod
    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes: so many, or those that are left. Below 0 all of them."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what it reads from. Safe to repeat."""

    def __iter__(self) -> Iterator[bytes]:
        return iter(partial(self.read, PIECE_BYTES), b"")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class BlobWriter(ABC):
    """The bytes of a blob on their way in. Use as a context manager: what is not finished leaves nothing."""

    def __init__(self, limit_bytes: int, keep_in_memory_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._keep_bytes = keep_in_memory_bytes
        self._digest = hashlib.sha256()
        self._size = 0
        self._start = bytearray()
        self._is_stored = self._is_finished = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_stored and not self._is_finished:
            self._discard()

    def write(self, data: bytes) -> None:
        """Add bytes. Raises BodyTooLarge above the store's limit, StorageFull, and BlobsAway."""
        self._size += len(data)
        if self._size > self._limit_bytes:
            raise BodyTooLarge(f"the blob has more than {self._limit_bytes} bytes, which is the server's limit")
        self._digest.update(data)
        if not self._is_stored and self._size <= self._keep_bytes:
            self._start += data
        elif self._is_stored:
            self._add(data)
        else:
            self._is_stored = True
            self._add(bytes(self._start) + data)

    def finish(self) -> Received:
        """Make the blob be there, for good. Safe to repeat. Raises StorageFull or BlobsAway."""
        sha256 = self._digest.digest()
        if not self._is_stored:
            return Received(sha256, self._size, bytes(self._start))
        if not self._is_finished:
            self._place(sha256)
            self._is_finished = True
        return Received(sha256, self._size, None)

    @abstractmethod
    def _add(self, data: bytes) -> None:
        """Store the next bytes, where nobody finds them yet."""

    @abstractmethod
    def _place(self, sha256: bytes) -> None:
        """Make sure that all bytes are safe, and then put them under their digest, at one stroke."""

    @abstractmethod
    def _discard(self) -> None:
        """Remove what was stored."""
