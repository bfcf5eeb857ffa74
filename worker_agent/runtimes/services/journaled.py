"""What guests reach outside of their sandbox in a recorded run: each request and its answer pass the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from piecework.http.exchange import Request, Response
from piecework.worker_agent.runtimes.journal import doing
from piecework.worker_agent.runtimes.services.entries import AskEntries, EntryAnswer, EntryRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from piecework.worker_agent.runtimes.journal import Journal

T = TypeVar("T")
_encode = msgspec.msgpack.encode


class KeyValues(Protocol):
    """Keys and values: those of Redis, or of a store."""

    def set(self, key: bytes, value: bytes) -> None: ...
    def get(self, key: bytes) -> bytes | None: ...
    def delete(self, key: bytes) -> None: ...
    def find_keys(self, pattern: bytes) -> list[bytes]: ...


class JournaledStore:
    """Keys and values that others have, too."""

    def __init__(self, kind: str, journal: Journal, find: Callable[[], KeyValues]) -> None:
        """``find`` connects; it may raise ServiceError. ``kind`` is what the journal calls it."""
        self._kind = kind
        self._journal = journal
        self._find = find

    def set(self, key: bytes, value: bytes) -> None:
        self._ask(["set", key, value], doing(lambda: self._find().set(key, value)))

    def get(self, key: bytes) -> bytes | None:
        """Return a value; None when there is none."""
        found = read(self._ask(["get", key], lambda: _encode([self._find().get(key)])), list[bytes | None])
        return found[0] if found else None

    def delete(self, key: bytes) -> None:
        self._ask(["delete", key], doing(lambda: self._find().delete(key)))

    def set_default(self, key: bytes, value: bytes) -> None:
        """Keep a value unless there is one."""

        def act() -> None:
            if self._find().get(key) is None:
                self._find().set(key, value)

        self._ask(["default", key, value], doing(act))

    def find_keys(self, pattern: bytes) -> list[bytes]:
        """Return the keys that fit a pattern, sorted."""
        return read(self._ask(["keys", pattern], lambda: _encode(self._find().find_keys(pattern))), list[bytes])

    def _ask(self, asked: list[str | bytes], ask: Callable[[], bytes]) -> bytes:
        return self._journal.through(self._kind, _encode(asked), ask)


def fetch(journal: Journal, request: Request, send: Callable[[], Response]) -> Response:
    """Send an HTTP request."""
    return read_response(journal.through("http", _encode(request), lambda: _encode(send())))


def read_response(told: bytes) -> Response:
    """Return a response that a journal has. Raises GuestFailedError when it is damaged there."""
    return read(told, Response)


def ask_through(journal: Journal, ask: AskEntries) -> AskEntries:
    """Return what asks the server for keys and values."""

    def ask_journaled(request: EntryRequest) -> EntryAnswer:
        return read(journal.through("kv", _encode(request), lambda: _encode(ask(request))), EntryAnswer)

    return ask_journaled


def pass_grants(journal: Journal, env: dict[str, str], missing: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return the node's variables that are granted, and lines about what it does not allow."""
    told = journal.through("grants", b"", lambda: _encode([env, missing]))
    return read(told, tuple[dict[str, str], list[str]])


def read(told: bytes, kind: type[T]) -> T:
    """Return what a journal has. Raises GuestFailedError when it is damaged there."""
    try:
        return msgspec.msgpack.decode(told, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        from piecework.worker_agent.runtimes.verdict import GuestFailedError  # noqa: PLC0415  # a circle

        raise GuestFailedError(f"the journal is damaged in an answer: {error}") from None
