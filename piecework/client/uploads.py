"""The multipart body of an upload, streamed: a large file is never in memory as a whole."""

import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Self, cast

from piecework.client.errors import check_texts
from piecework.protocol.text import clean_text

CHUNK_BYTES = 256 * 1024
SPOOL_BYTES = 8 * 1024 * 1024
"""A source that cannot be rewound (a pipe) is copied first: up to this size in memory, then on disk."""

Source = bytes | Path | BinaryIO
"""What can be uploaded: bytes, a file's path, or an open binary file (from where it stands)."""


class MultipartFile:
    """One upload's body: texts, each in a part of its own, and the part ``file``.

    Iterating yields the body in chunks; every iteration starts anew, so that a lost request can be repeated.
    After one, ``checksum`` is the SHA-256 of the bytes that went out. Use it as a context manager.
    """

    def __init__(self, source: Source, filename: str = "", texts: Mapping[str, str] | None = None) -> None:
        self._file, self._owned = _open_source(source)
        self._start = self._file.tell()
        check_texts(texts or {})
        self._size = _measure(self._file, self._start)
        if not self._size:
            self._spool_unsized()
        boundary = f"piecework-{os.urandom(12).hex()}"
        self.content_type = f"multipart/form-data; boundary={boundary}"
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
            for name, text in (texts or {}).items()
        ]
        named = f'; filename="{_escape(filename)}"' if filename else ""
        self._head = (
            f"{''.join(parts)}--{boundary}\r\n"
            f'Content-Disposition: form-data; name="file"{named}\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self.checksum = ""

    def _spool_unsized(self) -> None:
        """Copy a file that says it is empty, or nothing, as those of /proc do, and see what is in it."""
        self._file.seek(self._start)
        spool, was, owned = _spool(self._file), self._file, self._owned
        if owned:
            was.close()
        self._file, self._owned, self._start = spool, True, 0
        self._size = spool.seek(0, os.SEEK_END)

    def __len__(self) -> int:
        """Return the size of the whole body, bytes."""
        return len(self._head) + self._size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        digest = hashlib.sha256()
        left = self._size
        self._file.seek(self._start)
        yield self._head
        while left and (chunk := self._file.read(min(CHUNK_BYTES, left))):
            digest.update(chunk)
            left -= len(chunk)
            yield chunk
        if left:
            raise OSError("the file became shorter while it was sent")
        self.checksum = digest.hexdigest()
        yield self._tail

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._owned:
            self._file.close()


def _escape(filename: str) -> str:
    """Return a file's name as it can stand between quotes (the HTML standard, multipart/form-data)."""
    return clean_text(filename).translate({34: "%22", 13: "%0D", 10: "%0A"})


def _open_source(source: Source) -> tuple[BinaryIO, bool]:
    """Return the source as a file that can be rewound, and whether it is ours to close."""
    if isinstance(source, bytes):
        return io.BytesIO(source), True
    if not isinstance(source, Path):
        return (source, False) if source.seekable() else (_spool(source), True)
    file = source.open("rb")
    if file.seekable():
        return file, True
    with file:
        return _spool(file), True


def _measure(file: BinaryIO, start: int) -> int:
    """Return how many bytes a file says that it has from here; 0 when it does not say."""
    try:
        return file.seek(0, os.SEEK_END) - start
    except OSError:
        return 0


def _spool(source: BinaryIO) -> BinaryIO:
    """Return a copy of what a file still holds, which can be read from its start as often as one wants."""
    spool = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115  # the caller closes it
    shutil.copyfileobj(source, spool, CHUNK_BYTES)
    spool.seek(0)
    return cast("BinaryIO", spool)
