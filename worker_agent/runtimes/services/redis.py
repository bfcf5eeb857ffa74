"""A client for Redis, as small as what guests may ask of it, that stops with its guest.

Source: the Redis serialization protocol, version 2. The usual clients wait in a way that only the end of the
process could end: that is why this one is ours.
"""

import io

from piecework.worker_agent.runtimes.services.access import RedisServer
from piecework.worker_agent.runtimes.services.errors import ServiceError
from piecework.worker_agent.runtimes.services.line import Line, RequestDeadline, find_addresses
from piecework.worker_agent.runtimes.stopping import StopSignal

KEYS_MAX = 100_000
_SCAN_COUNT = b"1000"
_LINE_BYTES = 64 * 1024
_DEPTH_MAX = 4
Reply = bytes | int | None | list["Reply"]


class Redis:
    """Connects for the first command. After an error the next command connects anew. Must be closed.

    Methods raise ServiceError, and StoppedError as soon as the call must end.
    """

    def __init__(self, server: RedisServer, stop: StopSignal, patience_s: float, answer_bytes: int) -> None:
        self._server = server
        self._stop = stop
        self._patience_s = patience_s
        self._answer_bytes = answer_bytes
        self._link: _Link | None = None

    def set(self, key: bytes, value: bytes) -> None:
        self._ask(b"SET", key, value)

    def get(self, key: bytes) -> bytes | None:
        """Return a value; None when there is none."""
        found = self._ask(b"GET", key)
        return found if isinstance(found, bytes) else None

    def delete(self, key: bytes) -> None:
        self._ask(b"DEL", key)

    def find_keys(self, pattern: bytes) -> list[bytes]:
        """Return the keys that fit a pattern, sorted, without making others wait."""
        found: set[bytes] = set()
        cursor: Reply = b"0"
        while True:
            reply = self._ask(b"SCAN", cursor, b"MATCH", pattern, b"COUNT", _SCAN_COUNT)
            if not isinstance(reply, list) or len(reply) != 2 or not isinstance(reply[1], list):
                raise ServiceError("Redis gave an answer that makes no sense")
            cursor = reply[0]
            found.update(key for key in reply[1] if isinstance(key, bytes))
            if len(found) > KEYS_MAX:
                raise ServiceError(f"more than {KEYS_MAX} keys fit")
            if cursor == b"0":
                return sorted(found)

    def close(self) -> None:
        """End the connection. Safe to repeat."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _ask(self, *words: Reply) -> Reply:
        deadline = RequestDeadline(self._stop, self._patience_s)
        try:
            if self._link is None:
                self._link = _Link(self._server, deadline, self._answer_bytes)
                self._link.greet(self._server)
            self._link.watch_with(deadline)
            return self._link.ask(*words)
        except _RefusedError:
            raise
        except BaseException:
            # An answer may be half read: nothing that comes after it could be trusted.
            self.close()
            raise


class _RefusedError(ServiceError):
    """Redis itself said no; the connection is sound."""


class _Link:
    """A connection, on which one question follows the other."""

    def __init__(self, server: RedisServer, deadline: RequestDeadline, answer_bytes: int) -> None:
        self._line = Line.connect(find_addresses(server.host, server.port, deadline), deadline)
        self._stream: io.BufferedReader = io.BufferedReader(self._line)
        self._answer_bytes = answer_bytes
        self._room = 0
        """Bytes that the answer may still have."""

    def greet(self, server: RedisServer) -> None:
        if server.password:
            self.ask(b"AUTH", server.password.encode())
        if server.database:
            self.ask(b"SELECT", b"%d" % server.database)

    def watch_with(self, deadline: RequestDeadline) -> None:
        self._line.deadline = deadline

    def ask(self, *words: Reply) -> Reply:
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            assert isinstance(word, bytes)
            parts.append(b"$%d\r\n%b\r\n" % (len(word), word))
        self._line.sendall(b"".join(parts))
        self._room = self._answer_bytes
        return self._read(_DEPTH_MAX)

    def close(self) -> None:
        self._line.close()

    def _read(self, depth: int) -> Reply:
        kind, rest = self._read_line()
        if kind == b"+":
            return rest
        if kind == b"-":
            raise _RefusedError(f"Redis: {rest.decode(errors='replace')}")
        try:
            number = int(rest)
        except ValueError:
            raise ServiceError("Redis gave an answer that makes no sense") from None
        if kind == b":":
            return number
        if kind == b"$":
            return None if number < 0 else self._read_exactly(number + 2)[:-2]
        if kind == b"*" and depth:
            return None if number < 0 else [self._read(depth - 1) for _ in range(self._take(number))]
        raise ServiceError("Redis gave an answer that makes no sense")

    def _read_line(self) -> tuple[bytes, bytes]:
        line = self._stream.readline(_LINE_BYTES)
        self._take(len(line))
        if not line.endswith(b"\r\n"):
            raise ServiceError("Redis ended the connection")
        return line[:1], line[1:-2]

    def _read_exactly(self, size: int) -> bytes:
        data = self._stream.read(self._take(size))
        if len(data) < size:
            raise ServiceError("Redis ended the connection")
        return data

    def _take(self, size: int) -> int:
        self._room -= size
        if self._room < 0:
            raise ServiceError(f"the answer has more than {self._answer_bytes} bytes")
        return size
