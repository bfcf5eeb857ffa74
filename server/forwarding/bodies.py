"""Bodies of calls on their way through."""

from collections.abc import Iterator

from piecework.server.forwarding.messages import CallRefused, FunctionCall

READ_BYTES = 64 * 1024
KEPT_BYTES = 64 * 1024
"""A body up to this size is read before it is sent, so that it can be sent again to another URL."""


class StreamedBody:
    """A body that is sent while it comes in, once; framed in chunks when its length is not known."""

    def __init__(self, call: FunctionCall, limit_bytes: int) -> None:
        self._call = call
        self._limit = limit_bytes
        self.begun = False
        """Some of it was taken: it cannot be sent to another URL."""

    def __len__(self) -> int:
        return self._call.length or 0

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[bytes]:
        """Go through the body as it is sent. Raises CallRefused when it is too large, or the caller left."""
        length, passed = self._call.length, 0
        self.begun = True
        while piece := self._call.body.read(READ_BYTES):
            passed += len(piece)
            if passed > self._limit:
                raise too_large(self._limit)
            yield piece if length is not None else b"%x\r\n%b\r\n" % (len(piece), piece)
        _check_end(self._call, passed)
        if length is None:
            yield b"0\r\n\r\n"


def prepare_body(call: FunctionCall, limit_bytes: int) -> bytes | StreamedBody:
    """Return what to send: the bytes themselves when there are few. Raises CallRefused."""
    if call.length is None:
        return StreamedBody(call, limit_bytes)
    if call.length > limit_bytes:
        raise too_large(limit_bytes)
    if call.length > KEPT_BYTES:
        return StreamedBody(call, limit_bytes)
    return read_body(call, limit_bytes)


def read_body(call: FunctionCall, limit_bytes: int) -> bytes:
    """Return the whole body. Raises CallRefused when it is too large or breaks off."""
    if (call.length or 0) > limit_bytes:
        raise too_large(limit_bytes)
    pieces, left = [], limit_bytes + 1 if call.length is None else call.length
    while left > 0 and (piece := call.body.read(min(left, READ_BYTES))):
        pieces.append(piece)
        left -= len(piece)
    body = b"".join(pieces)
    if len(body) > limit_bytes:
        raise too_large(limit_bytes)
    _check_end(call, len(body))
    return body


def _check_end(call: FunctionCall, passed: int) -> None:
    """Raise CallRefused unless so many bytes are the whole body."""
    if passed < call.length if call.length is not None else call.disconnect.is_noted:
        raise CallRefused(
            400, "BODY_BROKEN", "the body of the request broke off before its end, or came too slowly"
        )


def too_large(limit_bytes: int) -> CallRefused:
    return CallRefused(
        413, "TOO_LARGE", f"the body has more than {limit_bytes} bytes, which is what is passed on here"
    )
