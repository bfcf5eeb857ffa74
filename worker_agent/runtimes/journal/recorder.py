"""Writes the journal of a run."""

from collections.abc import Callable
from pathlib import Path

from piecework.receipts.journals import JOURNAL_BYTES, End, Head, JournalEntry, write_frame
from piecework.worker_agent.runtimes.services.errors import DeniedError, ServiceError
from piecework.worker_agent.runtimes.stopping import StoppedError, StopSignal
from piecework.worker_agent.runtimes.streams import OutputFullError, OutputSpool, ScratchError
from piecework.worker_agent.runtimes.verdict import GuestFailedError

_END_BYTES = 32
"""So much is left for the last frame."""


class Recorder:
    """A journal that asks, and notes what came of it.

    It never fails a run: where it has no more room, it is cut, and the guest goes on.
    """

    def __init__(self, scratch: str, stop: StopSignal, limit_bytes: int = JOURNAL_BYTES) -> None:
        """``scratch`` is the path where the journal goes when it becomes large."""
        self.cut = False
        """Something was asked that is not in there."""
        self._stop = stop
        self._spool = OutputSpool(limit_bytes, scratch)
        self._room = limit_bytes - _END_BYTES
        self._entries = 0
        self._append(write_frame(Head()))

    def through(self, kind: str, asked: bytes, ask: Callable[[], bytes]) -> bytes:
        """See ``Journal``."""
        try:
            answer = ask()
        except (ServiceError, GuestFailedError) as failure:
            self._note(kind, asked, str(failure), _name(failure))
            raise
        except StoppedError:
            self._note(kind, asked, self._stop.reason.name if self._stop.reason else "", "stopped")
            raise
        self._note(kind, asked, answer, "")
        return answer

    def finish(self) -> bytes | Path | None:
        """End the journal and return it, or the file with it; None when it could not be kept."""
        try:
            self._spool.write(write_frame(End(self._entries, self.cut)))
            return self._spool.finish()
        except (OutputFullError, ScratchError):
            self._spool.discard()
            return None

    def _note(self, kind: str, asked: bytes, answer: bytes | str, failure: str) -> None:
        if self.cut:
            return
        told = answer if isinstance(answer, bytes) else answer.encode(errors="replace")
        if len(asked) + len(told) > self._room:
            self.cut = True
            return
        if self._append(write_frame(JournalEntry(kind, asked, told, failure))):
            self._entries += 1

    def _append(self, frame: bytes) -> bool:
        self._room -= len(frame)
        try:
            if self._room >= 0:
                self._spool.write(frame)
                return True
        except (OutputFullError, ScratchError):
            pass
        self.cut = True
        return False


def _name(failure: ServiceError | GuestFailedError) -> str:
    if isinstance(failure, GuestFailedError):
        return "guest"
    return "denied" if isinstance(failure, DeniedError) else "failed"
