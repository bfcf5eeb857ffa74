"""Zip files of strangers, looked at before Python reads a list of entries that may be of any length."""

import struct
from typing import IO

from piecework.receipts.errors import ReceiptError

_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_COMMENT_MAX = 65_535


def check_directory(file: IO[bytes], what: str, *, entries_max: int, bytes_max: int) -> None:
    """Raise ReceiptError unless a file ends as a zip does, with a list of so many entries and bytes at most."""
    size = file.seek(0, 2)
    start = max(0, size - _END.size - _COMMENT_MAX)
    file.seek(start)
    tail = file.read()
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) - place < _END.size:
        raise ReceiptError(f"{what} is no bundle: it is no zip file, or its end is missing")
    _, _, _, _, entries, length, _, _ = _END.unpack_from(tail, place)
    if entries == 0xFFFF or length == 0xFFFFFFFF:
        entries, length = _read_large(file, start + place, what)
    if entries > entries_max or length > bytes_max:
        raise ReceiptError(f"{what} has {entries} entries; a bundle has at most {entries_max}")


def _read_large(file: IO[bytes], end: int, what: str) -> tuple[int, int]:
    damaged = ReceiptError(f"{what} is damaged: its end does not say where its entries are")
    if end < _LOCATOR.size:
        raise damaged
    file.seek(end - _LOCATOR.size)
    magic, _, place, _ = _LOCATOR.unpack(file.read(_LOCATOR.size))
    if magic != b"PK\x06\x07" or place > end:
        raise damaged
    file.seek(place)
    data = file.read(_END64.size)
    if len(data) < _END64.size or data[:4] != b"PK\x06\x06":
        raise damaged
    *_, entries, length, _ = _END64.unpack(data)
    return entries, length
