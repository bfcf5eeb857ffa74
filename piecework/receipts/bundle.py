"""Bundles: one file with a receipt, the keys of its signatures, and all bytes that it names.

A bundle is a zip file with the entries ``receipt.json`` (the envelope), ``keys.json`` (as ``GET /keys`` answers)
and ``parts/SHA256`` for each part. The same content makes the same bytes: entries are stored as they are, in
order, and have no times.
"""

import hashlib
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Self

import msgspec

from piecework.protocol.bodies import encode
from piecework.protocol.messages.receipts import Envelope, SigningKeyInfo, SigningKeyList
from piecework.receipts.envelope import ENVELOPE_MAX_BYTES, read_envelope, read_receipt, write_envelope
from piecework.receipts.errors import ReceiptError
from piecework.receipts.keys import KeyRing, read_keys
from piecework.receipts.parts import DIGEST, ReceiptPart, list_files, list_parts
from piecework.receipts.payload import ReceiptPayload, RunClaim
from piecework.receipts.zips import check_directory

RECEIPT_NAME, KEYS_NAME, PARTS = "receipt.json", "keys.json", "parts/"
ENTRIES_MAX = 4_100
"""A run has three lists of at most 1000 files, and a handful of parts beside."""
DIRECTORY_MAX_BYTES = 1024 * 1024
BUNDLE_MAX_BYTES = 64 * 1024**3
"""All that is in one bundle, unpacked."""
KEYS_JSON_MAX_BYTES = 1024 * 1024
PIECE_BYTES = 256 * 1024
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def write_bundle(
    file: Path, envelope: Envelope, keys: Iterable[SigningKeyInfo], parts: Mapping[str, bytes | Path]
) -> None:
    """Write a bundle: whole and checked, or not at all. ``parts`` has the bytes, or their file, by digest.

    Raises ReceiptError when a part is missing or has other bytes, OSError.
    """
    with tempfile.NamedTemporaryFile(prefix=".bundle-", dir=file.absolute().parent, delete=False) as output:
        draft = Path(output.name)
    try:
        with zipfile.ZipFile(draft, "w", allowZip64=True) as target:
            ordered = sorted(keys, key=lambda key: key.keyid)
            _add(target, KEYS_NAME, encode(SigningKeyList(keys=ordered)))
            for digest in sorted(parts):
                _add_part(target, digest, parts[digest])
            _add(target, RECEIPT_NAME, write_envelope(envelope))
        with Bundle(draft) as written:
            written.check_parts()
        draft.chmod(0o644)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def _add(target: zipfile.ZipFile, name: str, data: bytes) -> None:
    target.writestr(_entry(name, len(data)), data)


def _entry(name: str, size: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _LONG_AGO)
    entry.create_system, entry.external_attr, entry.file_size = 3, 0o644 << 16, size
    return entry


def _add_part(target: zipfile.ZipFile, digest: str, part: bytes | Path) -> None:
    if isinstance(part, bytes):
        _add(target, PARTS + digest, part)
        return
    with part.open("rb") as source, target.open(_entry(PARTS + digest, part.stat().st_size), "w") as entry:
        while piece := source.read(PIECE_BYTES):
            entry.write(piece)


class Bundle:
    """A bundle that is read. What it gives was checked against its digest; use it with ``with``."""

    def __init__(self, file: Path, what: str | None = None) -> None:
        """Open a bundle. Raises ReceiptError when it is none, or damaged, and OSError."""
        self._what = str(file) if what is None else what
        self._file = file.open("rb")
        try:
            check_directory(self._file, self._what, entries_max=ENTRIES_MAX, bytes_max=DIRECTORY_MAX_BYTES)
            self._zip = zipfile.ZipFile(self._file)
            self._entries = self._list_entries()
            self.envelope = read_envelope(self._read_named(RECEIPT_NAME, ENVELOPE_MAX_BYTES))
            self.payload: ReceiptPayload = read_receipt(self.envelope)
            self.keys: KeyRing = read_keys(self._read_named(KEYS_NAME, KEYS_JSON_MAX_BYTES), KEYS_NAME)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, msgspec.DecodeError) as error:
            self._file.close()
            if isinstance(error, ReceiptError):
                raise
            raise ReceiptError(f"{self._what} is damaged: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Safe to repeat."""
        self._zip.close()
        self._file.close()

    @property
    def claim(self) -> RunClaim:
        """What the receipt says."""
        return self.payload.claim

    def digests(self) -> set[str]:
        """Return the digests of all parts that are there."""
        return {name.removeprefix(PARTS) for name in self._entries if name.startswith(PARTS)}

    def size(self, digest: str) -> int:
        """Return how many bytes a part has. Raises ReceiptError when it is not there."""
        return self._find(PARTS + digest).file_size

    def read(self, digest: str, most_bytes: int = BUNDLE_MAX_BYTES, /) -> bytes:
        """Return the bytes of a part. Raises ReceiptError when they are too many, missing, or others."""
        entry = self._find(PARTS + digest)
        if entry.file_size > most_bytes:
            raise ReceiptError(
                f"the part {digest} has {entry.file_size} bytes; at most {most_bytes} are read here"
            )
        return b"".join(self._check(digest, entry))

    def copy(self, digest: str, target: Path, /) -> None:
        """Write a part to a new file. Raises ReceiptError, and then there is no file, FileExistsError, OSError."""
        entry = self._find(PARTS + digest)
        with target.open("xb") as output:
            try:
                for piece in self._check(digest, entry):
                    output.write(piece)
            except BaseException:
                target.unlink()
                raise

    def list_parts(self) -> list[ReceiptPart]:
        """Return everything that the receipt names, each part with what it is. Raises ReceiptError."""
        return [*list_parts(self.payload), *list_files(self.payload, self.read)]

    def check_parts(self) -> None:
        """Check that each part is there and whole. Raises ReceiptError that names the one that is not."""
        needed = self.list_parts()
        for what, digest in needed:
            if PARTS + digest not in self._entries:
                raise ReceiptError(f"{what} is missing: {self._what} has no part {digest}")
        names = {digest: what for what, digest in reversed(needed)}
        for digest in sorted(self.digests()):
            if digest not in names:
                raise ReceiptError(f"the part {digest} does not belong here: the receipt does not name it")
            for _ in self._check(digest, self._entries[PARTS + digest], names[digest]):
                pass

    def _list_entries(self) -> dict[str, zipfile.ZipInfo]:
        found: dict[str, zipfile.ZipInfo] = {}
        total, size = 0, self._file.seek(0, 2)
        for entry in self._zip.infolist():
            name = entry.filename
            is_part = name.startswith(PARTS) and DIGEST.fullmatch(name.removeprefix(PARTS))
            if not (is_part or name in {RECEIPT_NAME, KEYS_NAME}):
                raise ReceiptError(f"{self._what} has the entry {name[:100]!r}, which belongs in no bundle")
            if name in found:
                raise ReceiptError(f"{self._what} has two entries {name}")
            if entry.compress_type not in _PLAIN or entry.flag_bits & 1:
                raise ReceiptError(
                    f"{self._what} has the entry {name} packed or encrypted in another way than deflate"
                )
            if not 0 <= entry.header_offset < size:
                raise ReceiptError(f"{self._what} is damaged: the entry {name} lies outside of it")
            found[name] = entry
            total += entry.file_size
        if total > BUNDLE_MAX_BYTES:
            raise ReceiptError(f"{self._what} unpacks to {total} bytes; at most {BUNDLE_MAX_BYTES} are read")
        return found

    def _find(self, name: str) -> zipfile.ZipInfo:
        entry = self._entries.get(name)
        if entry is None:
            raise ReceiptError(f"{self._what} has no entry {name}")
        return entry

    def _read_named(self, name: str, most_bytes: int) -> bytes:
        entry = self._find(name)
        if entry.file_size > most_bytes:
            raise ReceiptError(
                f"{name} of {self._what} has {entry.file_size} bytes; at most {most_bytes} are read"
            )
        return b"".join(self._unpack(entry))

    def _check(self, digest: str, entry: zipfile.ZipInfo, what: str = "") -> Iterator[bytes]:
        """Go through the bytes of a part. What comes is good only when the end was reached."""
        found = hashlib.sha256()
        for piece in self._unpack(entry):
            found.update(piece)
            yield piece
        if found.hexdigest() != digest:
            whose = f"{what}, the part {digest}," if what else f"the part {digest}"
            raise ReceiptError(f"{whose} is damaged: its bytes have the digest {found.hexdigest()}")

    def _unpack(self, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        """Go through the bytes of an entry: no more than it says that it has."""
        left = entry.file_size
        try:
            with self._zip.open(entry) as stream:
                while piece := stream.read(min(PIECE_BYTES, left + 1)):
                    left -= len(piece)
                    if left < 0:
                        break
                    yield piece
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise ReceiptError(f"{entry.filename} of {self._what} is damaged: {error}") from error
        if left:
            raise ReceiptError(f"{entry.filename} of {self._what} is damaged: it has another length than it says")


def is_bundle(start: bytes) -> bool:
    """Tell whether a file that begins so may be a bundle, and is no receipt."""
    return start.startswith(b"PK")
