"""Large blobs on their way from one store to another, while servers work."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from mmap import mmap
from typing import TypeVar

from piecework.server.blobs.store import BlobReader, BlobStore, BlobWriter, DirectPut
from piecework.server.errors import BlobNotFound

T = TypeVar("T")


class TwoPlaces(BlobStore):
    """Stores in one place and finds in two: what was kept in another one before may be there still."""

    def __init__(self, now: BlobStore, before: BlobStore) -> None:
        self.now, self.before = now, before
        self.limit_bytes = now.limit_bytes

    def __str__(self) -> str:
        return f"{self.now}, and {self.before}"

    def receive(self, keep_in_memory_bytes: int) -> BlobWriter:
        return self.now.receive(keep_in_memory_bytes)

    def open(self, sha256: bytes, begin: int = 0, end: int | None = None) -> BlobReader:
        return self._look(lambda store: store.open(sha256, begin, end))

    @contextmanager
    def view(self, sha256: bytes) -> Iterator[bytes | mmap]:
        with ExitStack() as held:
            yield self._look(lambda store: held.enter_context(store.view(sha256)))

    def find_size(self, sha256: bytes) -> int | None:
        sizes = (store.find_size(sha256) for store in (self.now, self.before, self.now))
        return next((size for size in sizes if size is not None), None)

    def walk(self) -> Iterator[bytes]:
        for store in (self.now, self.before):
            yield from store.walk()

    def remove(self, sha256: bytes, age_s: float, is_needed: Callable[[bytes], bool]) -> bool:
        removed = [store.remove(sha256, age_s, is_needed) for store in (self.now, self.before)]
        return any(removed)

    def sweep(self, age_s: float, is_needed: Callable[[bytes], bool]) -> int:
        return sum(store.sweep(age_s, is_needed) for store in (self.now, self.before))

    def sign_put(self, sha256: bytes, size: int) -> DirectPut | None:
        return self.now.sign_put(sha256, size)

    def has_young(self, sha256: bytes, size: int) -> bool:
        return self.now.has_young(sha256, size)

    def check_space(self) -> None:
        self.now.check_space()

    def try_out(self) -> None:
        self.now.try_out()

    def _look(self, ask: Callable[[BlobStore], T]) -> T:
        """Return what a store answers. A blob that moves meanwhile is in the first place by then."""
        for store in (self.now, self.before):
            with suppress(BlobNotFound):
                return ask(store)
        return ask(self.now)
