"""Connections to a server: made, kept open between requests, and never used for two requests at once."""

import os
import socket
import ssl
import struct
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

from piecework.http.answers import Answer, Broken, NotHttp
from piecework.http.deadlines import NEVER, Deadline
from piecework.http.routes import ServerRoute
from piecework.http.sockets import (
    LEAST_WAIT_S,
    READ_BYTES,
    UNANSWERED_MAX_S,
    bear_silence,
    find_reason,
    open_socket,
)

WRITE_BYTES = 256 * 1024
"""So much is written at once, at most; each piece has the whole time-out."""
RESET_AT_CLOSE = struct.pack("ii", 1, 0)
"""For SO_LINGER. After a shutdown no reading makes room: without a reset, who sends waits a minute for some."""
SILENCE_S = 3.0
"""A connection on which nothing came for so long may be one that the network has forgotten."""
IDLE_MAX_S = 60.0
"""A firewall on the way may forget a connection that was idle for longer, and drop what is sent on it."""


class Pieces(Protocol):
    """A body that is made while it is sent. It may be gone through more than once."""

    def __iter__(self) -> Iterator[bytes]: ...

    def __len__(self) -> int:
        """Return the size of the whole body, bytes."""


Body = bytes | Pieces | None


class NotSent(Broken):
    """The connection failed before the whole request was on its way, so the server has not acted on it."""


class Connection:
    """One open connection. After Broken or NotHttp it is good for nothing but ``close``."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        # One that was given up, by Ctrl-C say, must not stay open.
        self._finalizer = weakref.finalize(self, opened.close)
        self.intact = True
        """Everything that was to be sent was sent."""
        self.heard_at = time.monotonic()
        """When something came in last, or it was made; by the monotonic clock."""
        self.opened_at = self.began_at = self.heard_at
        """When it was made, and when the newest request on it was."""
        self._timeout_s = 0.0
        self._deadline = NEVER
        self._bears_s: float = UNANSWERED_MAX_S

    def is_alive(self) -> bool:
        """Tell whether an idle connection can be used: nothing came in, and it is not closed."""
        try:
            self._socket.settimeout(0)
            self._socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def exchange(
        self, head: bytes, body: Body, timeout_s: float, answer: Answer | None = None, deadline: Deadline = NEVER
    ) -> Answer:
        """Send a request and return the answer once its head is there; ``receive`` brings the rest.

        ``timeout_s`` is for each piece sent, for the head of the answer, and for each wait for more of its body;
        ``deadline`` for all of it. ``answer`` is what takes it in, when that is to be one of the caller's own.
        Raises NotSent, Broken, NotHttp, or what making the body raises.
        """
        self.began_at = time.monotonic()
        self._timeout_s, self._deadline = timeout_s, deadline
        self._socket.settimeout(timeout_s)
        answer = answer or Answer()
        try:
            self._send(head, body)
            self._receive_head(answer)
        except NotSent as error:
            self.intact = False
            self._receive_early(answer, error)
        except BaseException:
            self.close()
            raise
        return answer

    def receive(self, answer: Answer) -> None:
        """Read some more of an answer. Raises Broken or NotHttp."""
        try:
            self._mind_deadline()
            data = self._socket.recv(READ_BYTES)
        except OSError as error:
            raise Broken(find_reason(error)) from error
        self.heard_at = time.monotonic()
        if data:
            answer.feed(data)
        else:
            answer.end()

    def cut(self) -> None:
        """Have whoever sends or receives on it fail at once. For another thread, while it is in use."""
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # that of TLS would pull its state away

    def close(self) -> None:
        self._finalizer()

    def _send(self, head: bytes, body: Body) -> None:
        self._bear_silence(UNANSWERED_MAX_S if body is None or isinstance(body, bytes) else self._timeout_s)
        if isinstance(body, bytes):
            self._write(head + body[:WRITE_BYTES])  # in one packet when it is small
            rest = memoryview(body)
            for start in range(WRITE_BYTES, len(body), WRITE_BYTES):
                self._write(rest[start : start + WRITE_BYTES])
        else:
            self._write(head)
            for piece in body or ():
                self._write(piece)

    def _write(self, data: bytes | memoryview) -> None:
        try:
            self._mind_deadline()
            self._socket.sendall(data)
        except OSError as error:
            raise NotSent(find_reason(error)) from error

    def _mind_deadline(self) -> None:
        """Have the next step end by the deadline. Raises TimeoutError when it is over."""
        if self._deadline is NEVER:
            return
        if self._deadline.is_over():
            raise TimeoutError
        self._socket.settimeout(max(self._deadline.shorten(self._timeout_s), LEAST_WAIT_S))

    def _bear_silence(self, seconds: float) -> None:
        """Bear with a server that takes nothing for so long: it may be busy storing a large body."""
        if seconds != self._bears_s:
            with suppress(OSError):
                bear_silence(self._socket, seconds)
            self._bears_s = seconds

    def _receive_head(self, answer: Answer) -> None:
        """Read the head of an answer, which may come drop by drop, but not for longer than one time-out."""
        whole, until = self._deadline, Deadline(self._deadline.shorten(self._timeout_s))
        self.receive(answer)
        if answer.status:  # it came in one piece, as nearly all do
            return
        self._deadline = until
        try:
            while not answer.status:
                self.receive(answer)
        finally:
            self._deadline = whole
            self._socket.settimeout(self._timeout_s)

    def _receive_early(self, answer: Answer, unsent: NotSent) -> None:
        """Look for the answer of a server that refused a body, and hung up, before it had read all of it."""
        try:
            self._receive_head(answer)
        except (Broken, NotHttp):
            self.close()
            raise unsent from unsent.__cause__


class Poolable(Protocol):
    """What a pool must know of a connection. See ``Connection``."""

    intact: bool
    heard_at: float
    began_at: float
    opened_at: float

    def is_alive(self) -> bool: ...

    def cut(self) -> None: ...

    def close(self) -> None: ...


C = TypeVar("C", bound=Poolable)


class KeptConnections(Generic[C]):
    """The connections to one server, and those of them that are idle.

    Safe to share between threads and with forked processes.
    """

    def __init__(self, route: ServerRoute) -> None:
        self._route = route
        self._idle: deque[C] = deque()
        self._known: weakref.WeakSet[C] = weakref.WeakSet()
        self._lock = threading.Lock()
        """Held around the use of ``_known``."""
        self._doubts = 0.0
        """Connections that were not heard of since then may be dead, though they are in use; 0: there are none."""
        self._owner: object = None

    def take(self) -> C | None:
        """Return an idle connection that is alive; None when there is none."""
        owner = self._find_owner()
        if self._owner != owner:  # what was open at a fork belongs to the parent
            self._idle, self._known, self._lock = deque(), weakref.WeakSet(), threading.Lock()
            self._owner = owner
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was quicker
                return None
            if time.monotonic() - connection.heard_at <= IDLE_MAX_S and connection.is_alive():
                return connection
            connection.close()
        return None

    def give_back(self, connection: C, answer: Answer) -> None:
        """Keep a connection whose answer is complete for the next request, when it is still good for one."""
        if answer.complete and answer.reusable and connection.intact:
            self._idle.append(connection)
        else:
            connection.close()

    def condemn(self, failed: C) -> None:
        """Take note that a connection failed: whatever ended it probably ended others of its age, too.

        The idle ones that were not heard of since are closed. When nothing at all came back, those in use are cut
        as well, but only once ``vindicate`` shows that the server does answer.
        """
        for connection in list(self._idle):
            if connection.heard_at <= failed.began_at:
                with suppress(ValueError):  # another thread has taken it
                    self._idle.remove(connection)
                    connection.close()
        if time.monotonic() - max(failed.heard_at, failed.began_at) >= SILENCE_S:
            self._doubts = max(self._doubts, failed.began_at)

    def vindicate(self, answered: C) -> None:
        """Take note that the server answered: what was silent before that connection was made is dead."""
        self.give_up(answered.opened_at)

    def give_up(self, answered_at: float) -> None:
        """Cut what is in use and was silent when the server was last found to be: the network is well."""
        doubts = self._doubts
        if not doubts or answered_at <= doubts:
            return
        self._doubts = 0.0
        with self._lock:
            known = list(self._known)
        for connection in known:
            if max(connection.opened_at, connection.heard_at) <= doubts:
                connection.cut()

    def close(self) -> None:
        """Close the idle connections."""
        while (connection := self.take()) is not None:
            connection.close()

    def _note(self, connection: C) -> None:
        """Take note of a new connection."""
        with self._lock:
            self._known.add(connection)

    def _find_owner(self) -> object:
        """Return whose the connections are: others leave them alone."""
        return os.getpid()


class ConnectionPool(KeptConnections[Connection]):
    """The connections to one server, for threads."""

    def open(self, timeout_s: float, deadline: Deadline = NEVER) -> Connection:
        """Make a new connection; ``timeout_s`` for each of its steps. Raises NotSent or NotHttp."""
        try:
            connection = Connection(open_socket(self._route, timeout_s, deadline))
        except OSError as error:
            raise NotSent(find_reason(error)) from error
        self._note(connection)
        return connection
