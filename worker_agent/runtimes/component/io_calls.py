"""``wasi:io``: streams, waiting, errors.

Source: the WIT files of WASI 0.2, as for all interfaces beside this.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from piecework.worker_agent.runtimes.base import InputStream
from piecework.worker_agent.runtimes.component.guest import (
    ComponentGuest,
    FailureError,
    HostFunction,
    Interface,
    fail,
)
from piecework.worker_agent.runtimes.component.values import (
    BOOL,
    BYTES,
    STRING,
    U32,
    U64,
    Borrow,
    ListOf,
    Own,
    ResultOf,
    Variant,
)
from piecework.worker_agent.runtimes.wasi.clocks import read_number

ERROR, POLLABLE, INPUT_STREAM, OUTPUT_STREAM = 1, 2, 3, 4
CHUNK_BYTES = 64 * 1024
"""The most that passes in one call, either way: each byte takes 32 on its way."""
ZEROES_BYTES = 1024 * 1024
WAITED_FOR_MAX = 10_000


class IoError:
    """Why a stream failed."""

    def __init__(self, text: str, code: Any = None) -> None:
        self.text = text
        self.code = code
        """What the interface of the stream calls it; None: nothing special."""


class StreamError(Exception):
    """A stream failed, or is at its end: ``cause`` None."""

    def __init__(self, cause: IoError | None = None) -> None:
        super().__init__(cause.text if cause else "closed")
        self.cause = cause


CLOSED = ("closed", None)


class InputBytes(Protocol):
    """Where a guest reads."""

    def read(self, size: int) -> bytes:
        """Return some bytes, at least one. Raises StreamError, also at the end."""


class OutputBytes(Protocol):
    """Where a guest writes."""

    def write(self, data: bytes) -> None:
        """Take all of it. Raises StreamError, and what ends the guest."""


class InputSource:
    """A stream that ends as an input does."""

    def __init__(self, stream: InputStream) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        try:
            data = self._stream.read(size)
        except OSError as error:
            raise StreamError(IoError(f"it could not be read: {error.strerror}")) from None
        if not data:
            raise StreamError
        return data


class Sink:
    """A stream that takes whatever its owner takes."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write

    def write(self, data: bytes) -> None:
        self._write(data)


class Pollable:
    """Something to wait for: here, what is ready at once."""

    def is_ready(self, guest: ComponentGuest) -> bool:  # noqa: ARG002
        return True

    def due_ns(self) -> int | None:
        """Return when it is ready, by the guest's monotonic clock; None: something else tells."""
        return None

    def describe(self) -> str | None:
        """Say what else is waited for; None: nothing, it is ready in each run."""
        return None


class Timer(Pollable):
    """A time to wait for."""

    def __init__(self, due_ns: int) -> None:
        self._due_ns = due_ns

    def is_ready(self, guest: ComponentGuest) -> bool:
        return guest.watch_ns() >= self._due_ns

    def due_ns(self) -> int:
        return self._due_ns

    def describe(self) -> str:
        return f"clock {self._due_ns}"


def is_ready(guest: ComponentGuest, wanted: Pollable) -> bool:
    """Tell whether something is ready."""
    journal, described = guest.call.journal, wanted.describe()
    if journal is None or described is None:
        return wanted.is_ready(guest)
    return journal.through("ready", described.encode(), lambda: b"%d" % wanted.is_ready(guest)) == b"1"


def wait_for(guest: ComponentGuest, wanted: list[Pollable]) -> list[int]:
    """Wait until something of this is ready, and return the places of all that is."""
    journal, described = guest.call.journal, [each.describe() for each in wanted]
    if journal is None or not any(described):
        return _wait_for(guest, wanted)
    asked = ", ".join("ready" if each is None else each for each in described)
    told = journal.through("wait", asked.encode(), lambda: b" ".join(b"%d" % n for n in _wait_for(guest, wanted)))
    return [place for place in map(read_number, told.split()) if place < len(wanted)]


def _wait_for(guest: ComponentGuest, wanted: list[Pollable]) -> list[int]:
    while True:
        ready = [place for place, each in enumerate(wanted) if each.is_ready(guest)]
        if ready:
            return ready
        due_ns = min((due for each in wanted if (due := each.due_ns()) is not None), default=None)
        guest.wait(None if due_ns is None else max(0, due_ns - guest.watch_ns()))


def read(guest: ComponentGuest, stream: InputBytes, size: int) -> bytes:
    """Return what a stream has, up to ``size`` bytes; nothing only when nothing is wanted."""
    guest.stop.check()
    with _telling():
        return stream.read(min(size, CHUNK_BYTES)) if size else b""


def skip(guest: ComponentGuest, stream: InputBytes, size: int) -> int:
    return len(read(guest, stream, size))


def write(guest: ComponentGuest, stream: OutputBytes, data: bytes) -> None:
    guest.stop.check()
    with _telling():
        stream.write(data)


def write_zeroes(guest: ComponentGuest, stream: OutputBytes, size: int) -> None:
    if size > ZEROES_BYTES:
        fail(f"it wrote {size} zeroes at once, more than it was allowed")
    write(guest, stream, bytes(size))


def splice(guest: ComponentGuest, stream: OutputBytes, source: InputBytes, size: int) -> int:
    data = read(guest, source, size)
    write(guest, stream, data)
    return len(data)


def flush(guest: ComponentGuest, stream: OutputBytes) -> None:  # noqa: ARG001  # nothing is held back
    guest.stop.check()


def poll(guest: ComponentGuest, wanted: list[Pollable]) -> list[int]:
    if not wanted or len(wanted) > WAITED_FOR_MAX:
        fail(f"it waits for {len(wanted)} things at once; it must be from 1 to {WAITED_FOR_MAX}")
    return wait_for(guest, wanted)


@contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except StreamError as error:
        raise FailureError(CLOSED if error.cause is None else ("last-operation-failed", error.cause)) from None


_FAILURE = Variant({"last-operation-failed": Own(ERROR), "closed": None})
_IN, _OUT, _WAIT = Borrow(INPUT_STREAM), Borrow(OUTPUT_STREAM), Borrow(POLLABLE)
_read = HostFunction([_IN, U64], ResultOf(BYTES, _FAILURE), read)
_skip = HostFunction([_IN, U64], ResultOf(U64, _FAILURE), skip)
_write = HostFunction([_OUT, BYTES], ResultOf(None, _FAILURE), write)
_zeroes = HostFunction([_OUT, U64], ResultOf(None, _FAILURE), write_zeroes)
_flush = HostFunction([_OUT], ResultOf(None, _FAILURE), flush)
_splice = HostFunction([_OUT, _IN, U64], ResultOf(U64, _FAILURE), splice)

INTERFACES = {
    "wasi:io/error": Interface(
        {"[method]error.to-debug-string": HostFunction([Borrow(ERROR)], STRING, lambda _guest, error: error.text)},
        {"error": ERROR},
    ),
    "wasi:io/poll": Interface(
        {
            "[method]pollable.ready": HostFunction([_WAIT], BOOL, is_ready),
            "[method]pollable.block": HostFunction([_WAIT], None, lambda guest, wanted: wait_for(guest, [wanted])),
            "poll": HostFunction([ListOf(_WAIT)], ListOf(U32), poll),
        },
        {"pollable": POLLABLE},
    ),
    "wasi:io/streams": Interface(
        {
            "[method]input-stream.read": _read,
            "[method]input-stream.blocking-read": _read,
            "[method]input-stream.skip": _skip,
            "[method]input-stream.blocking-skip": _skip,
            "[method]input-stream.subscribe": HostFunction([_IN], Own(POLLABLE), lambda *_: Pollable()),
            "[method]output-stream.check-write": HostFunction(
                [_OUT], ResultOf(U64, _FAILURE), lambda *_: CHUNK_BYTES
            ),
            "[method]output-stream.write": _write,
            "[method]output-stream.blocking-write-and-flush": _write,
            "[method]output-stream.flush": _flush,
            "[method]output-stream.blocking-flush": _flush,
            "[method]output-stream.subscribe": HostFunction([_OUT], Own(POLLABLE), lambda *_: Pollable()),
            "[method]output-stream.write-zeroes": _zeroes,
            "[method]output-stream.blocking-write-zeroes-and-flush": _zeroes,
            "[method]output-stream.splice": _splice,
            "[method]output-stream.blocking-splice": _splice,
        },
        {"input-stream": INPUT_STREAM, "output-stream": OUTPUT_STREAM},
    ),
}
