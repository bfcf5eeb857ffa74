"""Bodies of calls on their way through."""

from collections.abc import Iterator

from server.forwarding.messages import BodyStream, Call, Refusal

READ_BYTES = 64 * 1024
KEPT_BYTES = 64 * 1024
"""A body up to this size is read before it is sent, so that it can be sent again to another URL."""


class Passing:
    """A body that is sent while it comes in, once; framed in chunks when its length is not known."""

    def __init__(self, stream: BodyStream, length: int | None, limit_bytes: int) -> None:
        self._stream = stream
        self._length = length
        self._limit = limit_bytes
        self.begun = False
        """Some of it was taken: it cannot be sent to another URL."""

    def __len__(self) -> int:
        return self._length or 0

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[bytes]:
        """Go through the body as it is sent. Raises Refusal when it is too large, or the caller left."""
        self.begun, passed = True, 0
        while piece := self._stream.read(READ_BYTES):
            passed += len(piece)
            if passed > self._limit:
                raise too_large(self._limit)
            yield piece if self._length is not None else b"%x\r\n%b\r\n" % (len(piece), piece)
        if self._length is None:
            yield b"0\r\n\r\n"
        elif passed < self._length:
            raise Refusal(400, "BODY_BROKEN", "the body of the request ended before its length")


def prepare_body(call: Call, limit_bytes: int) -> bytes | Passing:
    """Return what to send: the bytes themselves when there are few. Raises Refusal."""
    if call.length is None:
        return Passing(call.body, None, limit_bytes)
    if call.length > limit_bytes:
        raise too_large(limit_bytes)
    if call.length > KEPT_BYTES:
        return Passing(call.body, call.length, limit_bytes)
    return read_body(call, limit_bytes)


def read_body(call: Call, limit_bytes: int) -> bytes:
    """Return the whole body. Raises Refusal when it is too large or breaks off."""
    if (call.length or 0) > limit_bytes:
        raise too_large(limit_bytes)
    pieces, left = [], limit_bytes + 1 if call.length is None else call.length
    while left > 0 and (piece := call.body.read(min(left, READ_BYTES))):
        pieces.append(piece)
        left -= len(piece)
    body = b"".join(pieces)
    if len(body) > limit_bytes:
        raise too_large(limit_bytes)
    if call.length is not None and len(body) < call.length:
        raise Refusal(400, "BODY_BROKEN", "the body of the request ended before its length")
    return body


def too_large(limit_bytes: int) -> Refusal:
    return Refusal(
        413, "TOO_LARGE", f"the body has more than {limit_bytes} bytes, which is what is passed on here"
    )
