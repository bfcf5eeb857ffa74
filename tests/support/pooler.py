"""A pooler between PostgreSQL and its clients that gives each transaction the next of its connections, in turn.

It is what PgBouncer does with ``pool_mode=transaction``, but meaner: that one mostly gives the same one again.
"""

import itertools
import queue
import socket
import struct
import threading
from contextlib import suppress

import psycopg
from patience import LONG_S

LENGTH = struct.Struct("!I")
STARTUP_CODES = {80877103, 80877104}
"""Clients that ask for TLS or GSSAPI before they start."""


class Pooler:
    """Listens on a free port of 127.0.0.1 while it is open; ``sessions`` are the server's side of it."""

    def __init__(self, url: str, sessions: int = 3) -> None:
        self._target = psycopg.conninfo.conninfo_to_dict(url)
        self._free: queue.Queue[_Session] = queue.Queue()
        self._count = sessions
        self._hello = b""
        for _ in range(sessions):
            session = _Session(self._target)
            self._hello = session.hello
            self._free.put(session)
        self._numbers = itertools.count(1)
        self._door = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        port, name = self._door.getsockname()[1], self._target["dbname"]
        return f"postgresql://{self._target['user']}@127.0.0.1:{port}/{name}"

    def ask_all(self, query: str) -> list[tuple[bytes, ...]]:
        """Return the first row that each of the sessions answers, once nobody has one."""
        sessions = [self._free.get(timeout=LONG_S) for _ in range(self._count)]
        rows = [session.ask(query) for session in sessions]
        for session in sessions:
            self._free.put(session)
        return rows

    def close(self) -> None:
        self._door.close()
        while not self._free.empty():
            self._free.get().peer.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._door.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError, EOFError):
            while _read_startup(client) in STARTUP_CODES:
                client.sendall(b"N")
            key = _message(b"K", struct.pack("!II", next(self._numbers), 0))  # as poolers do, a number of its own
            client.sendall(_message(b"R", LENGTH.pack(0)) + self._hello + key + _message(b"Z", b"I"))
            first = _read_message(client)
            while first[0] != b"X":
                session = self._free.get(timeout=LONG_S)
                try:
                    self._run_transaction(client, session, first)
                finally:
                    self._free.put(session)
                first = _read_message(client)

    def _run_transaction(self, client: socket.socket, session: "_Session", first: tuple[bytes, bytes]) -> None:
        kind, body = first
        while True:
            session.peer.sendall(_message(kind, body))
            if kind in {b"Q", b"S"} and session.relay(client) == b"I":
                return
            kind, body = _read_message(client)


class _Session:
    """One connection to the server."""

    def __init__(self, target: dict[str, object]) -> None:
        self.peer = socket.create_connection((target["host"], target["port"]))
        words = f"user\0{target['user']}\0database\0{target['dbname']}\0\0".encode()
        self.peer.sendall(LENGTH.pack(len(words) + 8) + struct.pack("!I", 196608) + words)
        self.hello = b""
        while (got := _read_message(self.peer))[0] != b"Z":
            self.hello += _message(*got) if got[0] == b"S" else b""

    def relay(self, client: socket.socket) -> bytes:
        """Pass an answer on and return whether a transaction goes on then."""
        while True:
            kind, body = _read_message(self.peer)
            client.sendall(_message(kind, body))
            if kind == b"Z":
                return body

    def ask(self, query: str) -> tuple[bytes, ...]:
        self.peer.sendall(_message(b"Q", query.encode() + b"\0"))
        row: tuple[bytes, ...] = ()
        while (got := _read_message(self.peer))[0] != b"Z":
            row = row or _read_row(got[1]) if got[0] == b"D" else row
        return row


def _read_row(body: bytes) -> tuple[bytes, ...]:
    values, place = [], 2
    for _ in range(struct.unpack("!H", body[:2])[0]):
        (length,) = LENGTH.unpack_from(body, place)
        values.append(body[place + 4 : place + 4 + length])
        place += 4 + length
    return tuple(values)


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + LENGTH.pack(len(body) + 4) + body


def _read_message(peer: socket.socket) -> tuple[bytes, bytes]:
    kind, length = struct.unpack("!cI", _read(peer, 5))
    return kind, _read(peer, length - 4)


def _read_startup(client: socket.socket) -> int:
    (length,) = LENGTH.unpack(_read(client, 4))
    code: int = LENGTH.unpack(_read(client, length - 4)[:4])[0]
    return code


def _read(peer: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = peer.recv(size - len(found))
        if not part:
            raise EOFError
        found += part
    return found
