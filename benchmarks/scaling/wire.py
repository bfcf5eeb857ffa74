"""One agent's connection to a server, for simulating very many of them in one event loop."""

import asyncio
from typing import TypeVar

from piecework.protocol import bodies

Reply = TypeVar("Reply")
END_OF_HEAD = b"\r\n\r\n"
BUSY = (b"HTTP/1.1 429", b"HTTP/1.1 503")


class BusyError(ConnectionError):
    """The server cannot do it now: HTTP 429 or 503."""


class AgentConnection:
    """Sends requests as agents do, one after the other, over a connection that stays."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, message: object, reply: type[Reply]) -> Reply:
        """Send a message and return the answer. Raises BusyError, or ConnectionError for another refusal."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        body = bodies.encode(message, bodies.MSGPACK)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {bodies.MSGPACK}\r\n"
            f"Content-Type: {bodies.MSGPACK}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = await reader.readuntil(END_OF_HEAD)
        content = await reader.readexactly(content_length(answer))
        if not answer.startswith(b"HTTP/1.1 200"):
            kind = BusyError if answer.startswith(BUSY) else ConnectionError
            raise kind(f"{path}: {answer!r} {content[:200]!r}")
        return bodies.decode(content, reply, bodies.MSGPACK)

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()


def content_length(head: bytes) -> int:
    """Return the length of the body that follows an answer's head."""
    for line in head.lower().splitlines():
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0
