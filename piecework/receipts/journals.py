"""How a journal is written: frames of MessagePack, each after its length (u32, little endian).

The first one is a ``Head``, the last one an ``End``; between them is an ``JournalEntry`` for each question.
"""

import struct
from collections.abc import Iterator
from itertools import islice
from typing import TypeVar

import msgspec

VERSION = 1
SHOWN_BYTES = 60
"""So much of a question is shown."""
JOURNAL_BYTES = 16 * 1024 * 1024
"""No journal is larger: what a guest gets from outside after that is not written down."""
READ_BYTES = JOURNAL_BYTES + 1024
"""No journal that is read is larger: its last frame may stand behind the limit."""
_LENGTH = struct.Struct("<I")
_F = TypeVar("_F")


class JournalError(Exception):
    """A journal cannot be used; the message says why."""


class Head(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=0):
    """What a journal begins with."""

    version: int = VERSION


class JournalEntry(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=1):
    """A question of the guest, and what came of it."""

    kind: str
    """Who was asked."""
    asked: bytes
    answer: bytes
    """For a failure, its message."""
    failure: str = ""
    """What sort of failure; empty: none."""


class End(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=2):
    """What a journal ends with."""

    entries: int
    cut: bool = False
    """More was asked; there was no room for it."""


_head, _entry, _end = (
    msgspec.msgpack.Decoder(Head),
    msgspec.msgpack.Decoder(JournalEntry),
    msgspec.msgpack.Decoder(End),
)
_encoder = msgspec.msgpack.Encoder()


def write_frame(frame: Head | JournalEntry | End) -> bytes:
    """Return a frame as it stands in a journal."""
    body = _encoder.encode(frame)
    return _LENGTH.pack(len(body)) + body


class JournalReader:
    """A journal that was read: each entry is looked at when its turn comes."""

    def __init__(self, data: bytes) -> None:
        """Raises JournalError for what is no journal, too large, or cut short."""
        if len(data) > READ_BYTES:
            raise JournalError(f"the journal has {len(data)} bytes; a journal has at most {READ_BYTES}")
        if not data:
            raise JournalError("the journal is empty")
        self._data = data
        self.end = self._check()

    def read(self) -> Iterator[JournalEntry]:
        """Yield the entries. Raises JournalError at one that is damaged."""
        frames = islice(_walk(self._data), 1, self.end.entries + 1)
        for number, (start, end) in enumerate(frames, 1):
            try:
                yield _entry.decode(memoryview(self._data)[start:end])
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise JournalError(f"the journal is damaged at its entry {number}: {error}") from None

    def list_questions(self) -> Iterator[str]:
        """Yield what was asked, and what failed of it, for people. Raises JournalError at a damaged entry."""
        for each in self.read():
            yield f"{show_question(each.kind, each.asked)}{f': {each.failure}' if each.failure else ''}"

    def _check(self) -> End:
        first = last = (0, 0)
        count = 0
        for last in _walk(self._data):
            first = first if count else last
            count += 1
        head = self._decode(_head, first, "it is no journal: its first frame cannot be read")
        if head.version != VERSION:
            raise JournalError(f"the journal has version {head.version}; this worker reads version {VERSION}")
        end = self._decode(_end, last, f"the journal is cut short: it has no end after {count - 1} entries")
        if end.entries != count - 2:
            raise JournalError(
                f"the journal is damaged: it has {count - 2} entries, and says that it has {end.entries}"
            )
        return end

    def _decode(self, decoder: "msgspec.msgpack.Decoder[_F]", place: tuple[int, int], complaint: str) -> "_F":
        try:
            return decoder.decode(memoryview(self._data)[slice(*place)])
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise JournalError(complaint) from None


def _walk(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each frame begins and ends. Raises JournalError when the last one does not end."""
    place = count = 0
    while place < len(data):
        start = place + _LENGTH.size
        end = start + (_LENGTH.unpack_from(data, place)[0] if start <= len(data) else 0)
        if end > len(data):
            what = f"after {count - 1} entries" if count else "in its first frame"
            raise JournalError(f"the journal is cut short: it ends {what}")
        yield start, end
        place, count = end, count + 1


def show_question(kind: str, asked: bytes, place: int = 0) -> str:
    """Return a question as people read it: the part around a byte."""
    start = max(0, place - SHOWN_BYTES // 2)
    part = asked[start : start + SHOWN_BYTES]
    dots = "…" if start + SHOWN_BYTES < len(asked) else ""
    return f"{kind} {'…' if start else ''}{part!r}{dots}" if asked else kind
