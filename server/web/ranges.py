"""Parts of a blob, as ``Range`` asks for them (RFC 9110, section 14)."""

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence

from flask import Response
from werkzeug.http import parse_range_header

RANGES_MAX = 100
"""Who asks for more parts at once gets the whole."""

Part = tuple[int, int]
"""Its first byte, and the one after its last."""


def find_parts(header: str | None, size: int) -> list[Part] | None:
    """Return the parts that there are of those that a header asks for.

    None: all of it is asked for, as by a header with another unit, with parts that overlap or are out of order, or
    one that cannot be read.
    """
    found = parse_range_header(header)
    if found is None or found.units != "bytes" or len(found.ranges) > RANGES_MAX:
        return None
    parts = [
        (max(0, size + begin), size) if begin < 0 else (begin, size if end is None else min(end, size))
        for begin, end in found.ranges
    ]
    return [part for part in parts if part[0] < size]


def answer_parts(
    response: Response, open_part: Callable[[int, int], Iterable[bytes]], parts: Sequence[Part], size: int
) -> Response:
    """Return the answer to a request for several parts; ``response`` is the one to a request for the whole."""
    boundary = secrets.token_hex(16)
    heads = [
        f"\r\n--{boundary}\r\nContent-Type: {response.content_type}\r\n"
        f"Content-Range: bytes {begin}-{end - 1}/{size}\r\n\r\n".encode()
        for begin, end in parts
    ]
    tail = f"\r\n--{boundary}--\r\n".encode()

    def pieces() -> Iterator[bytes]:
        for head, part in zip(heads, parts, strict=True):
            yield head
            yield from open_part(*part)
        yield tail

    answer = Response(pieces(), 206, content_type=f"multipart/byteranges; boundary={boundary}")
    answer.content_length = sum(map(len, heads)) + sum(end - begin for begin, end in parts) + len(tail)
    answer.headers["ETag"], answer.accept_ranges = response.headers["ETag"], "bytes"
    return answer
