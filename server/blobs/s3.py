"""Large blobs as objects in a bucket of S3, each under the SHA-256 of its content.

The digest of a blob is known when its last byte came. So a blob on its way is a nameless file on this machine's
disk, and goes to S3 once it is whole: it appears under its digest at one stroke, and nothing has to be copied.

What is just received again must not be removed, and S3 has no locks. Who removes a blob first puts a mark beside
it, then looks whether it is still old, and takes the mark away at last. Who received a blob looks afterwards: when
the blob is there and no mark is, whoever removes blobs will see that it is young.
"""

import hashlib
import re
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedRandom
from mmap import ACCESS_READ, mmap
from pathlib import Path

from piecework.server.blobs.bucket import Bucket, StoredObject
from piecework.server.blobs.disk_space import DiskSpace
from piecework.server.blobs.store import PIECE_BYTES, TRIED_BYTES, BlobReader, BlobStore, BlobWriter, DirectPut
from piecework.server.errors import BlobDamaged, BlobsAway, ServerError, StorageFull
from piecework.server.logs import Condition

BLOB = re.compile(r"([0-9a-f]{2})/(\1[0-9a-f]{62})")
OURS = re.compile(rf"{BLOB.pattern}\.[0-9a-f]{{16}}|incoming/[0-9a-f]{{32}}")
"""Marks, and what was stored to try S3 out."""
QUIET_S = 5.0
"""S3 is back when nothing failed for so long: a key that may read and not write must not fill the log."""
REMOVAL_S = 30.0
"""Who needs longer from mark to removal gives up."""
MARK_S = 300.0
"""After so long its removal is over, or its server is dead."""
LOOKS, LOOK_S = 20, 0.25
"""How often, and after how many seconds each, it is looked whether a removal is over."""
DIRECT_S = 900
"""How long somebody else may get or put a blob, once they were told where."""
DIRECT_MAX_BYTES = 5 << 30
"""S3 takes no more in one request."""
YOUNG_S = 1800.0
"""What was stored since is not removed before its row is there."""
REOPENED_MAX = 2
"""So often in a row the rest of a blob is asked for again when its bytes break off."""


class S3Store(BlobStore):
    """A bucket with one object per blob: ``ab/abcdef…``, under a prefix."""

    def __init__(
        self,
        open_bucket: Callable[[Condition, int, int], Bucket],
        spool: Path,
        limit_bytes: int,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``open_bucket`` gets who is told of failures, how often to try, and how many seconds each time.

        ``spool`` is a directory for blobs on their way. ``clock`` gives seconds since 1970.
        """
        spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        away = Condition(
            "the store of large blobs is away",
            "the store of large blobs answers again",
            monotonic,
            quiet_s=QUIET_S,
        )
        self.bucket, self._hasty = open_bucket(away, 3, 30), open_bucket(away, 1, 5)
        self.limit_bytes = limit_bytes
        self.space = DiskSpace(spool, "blobs on their way to S3", monotonic)
        self._spool = spool
        self._monotonic, self._clock = monotonic, clock

    def __str__(self) -> str:
        return str(self.bucket.place)

    def receive(self, keep_in_memory_bytes: int) -> BlobWriter:
        return _S3Writer(self, keep_in_memory_bytes)

    def open(self, sha256: bytes, begin: int = 0, end: int | None = None) -> BlobReader:
        return _S3Reader(self.bucket, sha256, begin, end)

    @contextmanager
    def view(self, sha256: bytes) -> Iterator[bytes | mmap]:
        with self.open_file() as file:
            with self.open(sha256) as reader, self.space.full_reported(reader.size):
                for piece in reader:
                    file.write(piece)
                file.flush()
            if not reader.size:
                yield b""  # of nothing there is no map
                return
            with mmap(file.fileno(), 0, access=ACCESS_READ) as view:
                yield view

    def find_size(self, sha256: bytes) -> int | None:
        found = self.bucket.find(name_of(sha256))
        return found.size if found else None

    def walk(self) -> Iterator[bytes]:
        for each in self.bucket.walk():
            if found := BLOB.fullmatch(each.key):
                yield bytes.fromhex(found[2])

    def remove(self, sha256: bytes, age_s: float, is_needed: Callable[[bytes], bool]) -> bool:
        limit = self._clock() - age_s
        found = self.bucket.find(name_of(sha256))
        return _is_older(found, limit) and not is_needed(sha256) and self._remove(sha256, limit)

    def sweep(self, age_s: float, is_needed: Callable[[bytes], bool]) -> int:
        limit = self._clock() - age_s
        removed = 0
        for each in self.bucket.walk():
            found = BLOB.fullmatch(each.key)
            if not _is_older(each, limit):
                continue
            if found and not is_needed(sha256 := bytes.fromhex(found[2])):
                removed += self._remove(sha256, limit)
            elif OURS.fullmatch(each.key):
                self.bucket.delete(each.key)
                removed += 1
        for each in self.bucket.walk_uploads():
            if BLOB.fullmatch(each.key) and _is_older(each, limit):
                self.bucket.abort(each)
                removed += 1
        return removed

    def sign_get(self, sha256: bytes) -> str | None:
        return self.bucket.sign_get(name_of(sha256), DIRECT_S)

    def sign_put(self, sha256: bytes, size: int) -> DirectPut | None:
        if size > DIRECT_MAX_BYTES:
            return None
        return DirectPut(*self.bucket.sign_put(name_of(sha256), size, sha256, DIRECT_S))

    def checks_digests(self) -> bool:
        key = f"incoming/{secrets.token_hex(16)}"
        takes_any = self._hasty.takes_wrong_digest(key)
        if takes_any:
            self._hasty.delete(key)
        return not takes_any

    def has_young(self, sha256: bytes, size: int) -> bool:
        key = name_of(sha256)
        found = {each.key: each for each in self.bucket.walk(key)}
        stored = found.pop(key, None)
        is_young = stored is not None and self._clock() - stored.modified_at < YOUNG_S
        return is_young and stored is not None and stored.size == size and not _marks_of(stored, found)

    def check_space(self) -> None:
        self.space.check()

    def try_out(self) -> None:
        key = f"incoming/{secrets.token_hex(16)}"
        with self.space.full_reported(0), self.open_file() as file:
            file.write(bytes(TRIED_BYTES))
            file.flush()
            self._hasty.put(key, file, TRIED_BYTES)
        self._hasty.delete(key)

    def open_file(self) -> BufferedRandom:
        """Return a new file that nobody else finds, and that is gone when it is closed or this process dies."""
        try:
            return tempfile.TemporaryFile(dir=self._spool)
        except OSError as error:
            raise StorageFull(f"{self._spool} cannot be written to: {error.strerror}") from error

    def put(self, sha256: bytes, file: BufferedRandom, size: int) -> None:
        """Make a blob be there, whoever removes blobs at this moment. Raises BlobsAway."""
        key = name_of(sha256)
        self.bucket.put(key, file, size)
        for _ in range(LOOKS):
            found = {each.key: each for each in self.bucket.walk(key)}
            stored = found.pop(key, None)
            if stored is None:
                self.bucket.put(key, file, size)
            elif stored.size != size:
                raise BlobsAway(f"{self}: S3 stored {stored.size} of {size} bytes; nothing of this request counts")
            elif _marks_of(stored, found):
                threading.Event().wait(LOOK_S)
            else:
                self.space.note_stored()
                return
        raise BlobsAway(f"{self}: blob {sha256.hex()} is being removed; try again")

    def _remove(self, sha256: bytes, limit: float) -> bool:
        """Remove a blob, unless it was received again since it was looked at. Returns whether it did."""
        key = name_of(sha256)
        mark = f"{key}.{secrets.token_hex(8)}"
        began_at = self._monotonic()
        with self.open_file() as nothing:
            self.bucket.put(mark, nothing, 0)
        try:
            is_old = _is_older(self.bucket.find(key), limit) and self._monotonic() - began_at < REMOVAL_S
            if is_old:
                self.bucket.delete(key)
        finally:
            self.bucket.delete(mark)
        return is_old


class _S3Reader(BlobReader):
    """Reads a blob, asks again for the rest when its bytes break off, and checks a whole blob's digest.

    The first bytes are here when it is: what fails at the start fails before anything is answered.
    """

    def __init__(self, bucket: Bucket, sha256: bytes, begin: int, end: int | None) -> None:
        self._bucket, self._sha256 = bucket, sha256
        self._stream, self.size = bucket.get(name_of(sha256), begin, end)
        self._at, self._end = begin, self.size if end is None else min(end, self.size)
        self._digest = hashlib.sha256() if begin == 0 and self._end == self.size else None
        self._reopened = 0
        try:
            self._first = self._fetch(PIECE_BYTES)
        except ServerError:
            self.close()
            raise

    def read(self, size: int = -1, /) -> bytes:
        if not self._first:
            return self._fetch(size)
        found, self._first = (self._first, b"") if size < 0 else (self._first[:size], self._first[size:])
        return found if len(found) == size else found + self._fetch(size if size < 0 else size - len(found))

    def _fetch(self, size: int) -> bytes:
        """Return so many of the next bytes, or those that are left; below 0 all of them."""
        left = max(0, self._end - self._at)
        wanted = left if size < 0 else min(size, left)
        found = self._read_some(wanted)
        if len(found) == wanted:
            return found
        pieces = [found]
        while (wanted := wanted - len(pieces[-1])) > 0:
            pieces.append(self._read_some(wanted))
        return b"".join(pieces)

    def close(self) -> None:
        self._stream.close()

    def _read_some(self, size: int) -> bytes:
        """Return some of the next bytes, none only if ``size`` is 0. Raises BlobsAway or BlobDamaged."""
        data = b""
        while size and not data:
            try:
                with self._bucket.stream_translated():
                    data = self._stream.read(size)
            except BlobsAway:
                if self._reopened >= REOPENED_MAX:
                    raise
            if not data:
                self._reopen()
        if data:
            self._reopened = 0
        self._at += len(data)
        if self._digest is not None:
            self._digest.update(data)
            if self._at == self._end and self._digest.digest() != self._sha256:
                raise BlobDamaged(
                    f"{self._bucket.place} has other bytes under {self._sha256.hex()} than that blob's"
                )
        return data

    def _reopen(self) -> None:
        self._stream.close()
        if self._reopened >= REOPENED_MAX:
            raise BlobsAway(f"{self._bucket.place}: the bytes of blob {self._sha256.hex()} broke off")
        self._reopened += 1
        self._stream, _ = self._bucket.get(name_of(self._sha256), self._at, self._end)


class _S3Writer(BlobWriter):
    """Writes into a nameless file, which goes to S3 when it is whole."""

    def __init__(self, store: S3Store, keep_in_memory_bytes: int) -> None:
        super().__init__(store.limit_bytes, keep_in_memory_bytes)
        self._store = store
        self._file: BufferedRandom | None = None

    def _add(self, data: bytes) -> None:
        with self._store.space.full_reported(self._size):
            if self._file is None:
                self._file = self._store.open_file()
            self._file.write(data)

    def _place(self, sha256: bytes) -> None:
        assert self._file is not None
        with self._store.space.full_reported(self._size), self._file:
            self._file.flush()
            self._store.put(sha256, self._file, self._size)

    def _discard(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # what it could not write before it cannot write now
                self._file.close()


def name_of(sha256: bytes) -> str:
    """Return the key of a blob, without the prefix."""
    name = sha256.hex()
    return f"{name[:2]}/{name}"


def _marks_of(stored: StoredObject, beside: Mapping[str, StoredObject]) -> list[StoredObject]:
    """Return the marks beside a blob that count, by S3's own clock."""
    return [mark for mark in beside.values() if mark.modified_at >= stored.modified_at - MARK_S]


def _is_older(found: StoredObject | None, limit: float) -> bool:
    return found is not None and found.modified_at <= limit
