"""How a journal is written: frames of MessagePack, each after its length (u32, little endian).

The first one is a ``Head``, the last one an ``End``; between them is an ``JournalEntry`` for each question.
"""

import struct
from collections.abc import Iterator
from typing import TypeVar

import msgspec

from piecework.worker_agent.runtimes.journal import JOURNAL_BYTES

VERSION = 1
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
        self._frames = _find_frames(data)
        self.end = self._check()

    def read(self) -> Iterator[JournalEntry]:
        """Yield the entries. Raises JournalError at one that is damaged."""
        for number, (start, end) in enumerate(self._frames[1:-1], 1):
            try:
                yield _entry.decode(memoryview(self._data)[start:end])
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise JournalError(f"the journal is damaged at its entry {number}: {error}") from None

    def _check(self) -> End:
        head = self._decode(_head, 0, "it is no journal: its first frame cannot be read")
        if head.version != VERSION:
            raise JournalError(f"the journal has version {head.version}; this worker reads version {VERSION}")
        count = len(self._frames) - 2
        end = self._decode(_end, -1, f"the journal is cut short: it has no end after {count + 1} entries")
        if end.entries != count:
            raise JournalError(
                f"the journal is damaged: it has {count} entries, and says that it has {end.entries}"
            )
        return end

    def _decode(self, decoder: "msgspec.msgpack.Decoder[_F]", place: int, complaint: str) -> "_F":
        start, end = self._frames[place]
        try:
            return decoder.decode(memoryview(self._data)[start:end])
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise JournalError(complaint) from None


def _find_frames(data: bytes) -> list[tuple[int, int]]:
    """Return where each frame begins and ends. Raises JournalError when the last one does not end."""
    frames: list[tuple[int, int]] = []
    place = 0
    while place < len(data):
        start = place + _LENGTH.size
        end = start + (_LENGTH.unpack_from(data, place)[0] if start <= len(data) else 0)
        if start > len(data) or end > len(data):
            what = f"after {len(frames) - 1} entries" if frames else "in its first frame"
            raise JournalError(f"the journal is cut short: it ends {what}")
        frames.append((start, end))
        place = end
    return frames
