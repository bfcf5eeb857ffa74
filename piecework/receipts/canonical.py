"""Canonical JSON: one text for one value.

Keys are sorted by their code points, there are no spaces, strings are UTF-8 with as few escapes as JSON allows,
there are no fractions, and whole numbers above 2^53 are decimal strings.
"""

import hashlib
from typing import TypeVar

import msgspec

from piecework.receipts.errors import ReceiptError

T = TypeVar("T")

NUMBER_MAX = 2**53
"""The largest whole number that is written as one: some readers of JSON know no larger ones."""
_encoder = msgspec.json.Encoder(order="sorted")


def encode_canonical(value: object) -> bytes:
    """Return a value without fractions and without numbers above ``NUMBER_MAX`` as canonical JSON."""
    return _encoder.encode(value)


def read_canonical(data: bytes, decoder: msgspec.json.Decoder[T], what: str) -> T:
    """Return what canonical JSON says. Raises ReceiptError with the field, or the first byte, that is wrong."""
    try:
        value = decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ReceiptError(f"{what} cannot be read: {error}") from error
    written = encode_canonical(value)
    if written != data:
        place = next((n for n, pair in enumerate(zip(written, data, strict=False)) if pair[0] != pair[1]), None)
        at = min(len(written), len(data)) if place is None else place
        raise ReceiptError(f"{what} is not canonical JSON: byte {at} is another")
    return value


def write_number(number: int) -> int | str:
    """Return a whole number as canonical JSON has it."""
    return number if number <= NUMBER_MAX else str(number)


def sum_canonical(value: object) -> str:
    """Return the SHA-256, in hex, of a value's canonical JSON."""
    return hashlib.sha256(encode_canonical(value)).hexdigest()
