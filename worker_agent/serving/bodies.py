"""The bodies of requests: each read whole, with a cap on its size, on its time, and on all of them together."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Protocol

DROPPED_BYTES = 8 * 1024 * 1024
"""So much of a body beyond the cap is read for its caller to hear that it is too large."""
AT_ONCE = 16
"""So many of the largest bodies are in memory at a time."""
WAIT_S, BYTES_PER_S = 30.0, 100_000
"""A body is given up that takes longer, and comes slower, than this."""


class Scope(Protocol):
    """A request without its body, as granian has it (RSGI)."""

    http_version: str
    """As 1.1."""
    method: str
    path: str
    query_string: str

    @property
    def headers(self) -> "HeaderMap": ...


class HeaderMap(Protocol):
    """The headers of a request; their names are in lower case."""

    def items(self) -> list[tuple[str, str]]: ...
    def get(self, key: str, default: str = "") -> str: ...
    def get_all(self, key: str) -> list[str]: ...


class Exchange(Protocol):
    """The way to a request's body and for its response."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...
    def client_disconnect(self) -> Awaitable[object]: ...
    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...


class BodyError(Exception):
    """The body of a request did not come as it should; ``status`` is what its caller gets."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Bodies:
    """Reads bodies, and knows how much of them is in memory."""

    def __init__(self, limit_bytes: int, wait_s: float = WAIT_S) -> None:
        """``limit_bytes`` is the size of the largest."""
        self._limit_bytes = limit_bytes
        self._wait_s = wait_s
        self._held_bytes = 0

    async def read(self, scope: Scope, exchange: Exchange) -> bytearray:
        """Return a body, which is in memory until it is let go of. Raises BodyError."""
        body = bytearray()
        length = scope.headers.get("content-length", "0")
        if length == "0" and not scope.headers.get("transfer-encoding", ""):
            return body
        announced = int(length) if length.isdecimal() else 0
        over = announced - self._limit_bytes
        if over > DROPPED_BYTES or (over > 0 and scope.headers.get("expect", "")):
            raise self._too_large()
        try:
            # Of a body in chunks nobody knows how large it will be.
            async with asyncio.timeout(self._wait_s + (announced or self._limit_bytes) / BYTES_PER_S):
                await self._take(exchange, body)
            if announced > len(body):
                raise ConnectionResetError("it broke off")
        except TimeoutError:
            self.let_go(body)
            raise BodyError(408, f"it took too long to send the body: {len(body)} bytes came") from None
        except (RuntimeError, OSError) as error:
            self.let_go(body)
            raise BodyError(400, f"the body did not come: {error}") from error
        except BaseException:
            self.let_go(body)
            raise
        return body

    def let_go(self, body: bytearray) -> None:
        """Note that nobody needs a body any more."""
        self._held_bytes -= len(body)

    async def _take(self, exchange: Exchange, body: bytearray) -> None:
        """Append what comes.

        Somewhat more than is allowed is read, and dropped: many callers look for an answer only when all is sent.
        """
        size = ends = 0
        async for piece in exchange:
            ends += not piece
            size += len(piece)
            if size > self._limit_bytes + DROPPED_BYTES:
                raise self._too_large()
            if size <= self._limit_bytes:
                self._hold(piece, body)
        if size > self._limit_bytes:
            raise self._too_large()
        if ends > 1:  # granian gives an empty piece for the end, and another for what breaks off or is a trailer
            raise ConnectionResetError("it broke off, is not framed as it must be, or has trailers")

    def _hold(self, piece: bytes, body: bytearray) -> None:
        if self._held_bytes + len(piece) > AT_ONCE * self._limit_bytes:
            raise BodyError(503, "too many large bodies come at once")
        self._held_bytes += len(piece)
        body += piece

    def _too_large(self) -> BodyError:
        return BodyError(413, f"the body has more than {self._limit_bytes} bytes, the most for a request")
