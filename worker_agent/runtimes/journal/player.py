"""Gives a guest what its journal has, in the place of the world."""

import hashlib
from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import NoReturn

from piecework.receipts.journals import JournalEntry, JournalError, JournalReader, show_question
from piecework.worker_agent.runtimes.journal.differences import CallDifference
from piecework.worker_agent.runtimes.services.errors import DeniedError, ServiceError
from piecework.worker_agent.runtimes.stopping import StoppedError, StopReason, StopSignal
from piecework.worker_agent.runtimes.verdict import GuestFailedError


class OtherwiseError(GuestFailedError):
    """The guest did not ask for what it asked for then, or the journal is damaged there."""

    def __init__(self, message: str) -> None:
        # With a trace, no line of the log is added to it.
        super().__init__(message, trace=message)


class Player:
    """A journal that gives what it has, and asks nobody."""

    def __init__(self, data: bytes, stop: StopSignal) -> None:
        """Raises JournalError."""
        reader = JournalReader(data)
        self.difference: CallDifference | None = None
        """The first one."""
        self.checksum = hashlib.sha256(data).hexdigest()
        """Of the whole journal."""
        self._end = reader.end
        self._entries: Iterator[JournalEntry] = reader.read()
        self._stop = stop
        self._calls = 0

    def through(self, kind: str, asked: bytes, _ask: Callable[[], bytes]) -> bytes:
        """See ``Journal``. Raises OtherwiseError where the guest asks for something else."""
        self._calls += 1
        if self.difference is not None:
            raise OtherwiseError(self.difference.message)
        try:
            entry = next(self._entries, None)
        except JournalError as error:
            self._differ(None, str(error), show_question(kind, asked))
        if entry is None:
            said = f"the guest asks for {show_question(kind, asked)}, {self._tell_end()}"
            self._differ(None, said, show_question(kind, asked), is_cut=self._end.cut)
        if entry.kind != kind:
            mine, its = show_question(kind, asked), show_question(entry.kind, entry.asked)
            self._differ(None, f"the guest asks for {mine}, the record has {its}", mine, its)
        if entry.asked != asked:
            byte = next(
                place for place, (one, other) in enumerate(zip_longest(asked, entry.asked)) if one != other
            )
            mine, its = show_question(kind, asked, byte), show_question(entry.kind, entry.asked, byte)
            said = f"the guest asks for {mine}, the record has {its}: they differ at byte {byte}"
            self._differ(byte, said, mine, its)
        if entry.failure:
            self._fail(entry)
        return entry.answer

    def find_difference(self) -> CallDifference | None:
        """Return the first difference of a run that has ended: also when the record has more than it asked for."""
        left = self._end.entries - self._calls
        if self.difference is None and left > 0:
            more = f"the guest ended, the record has {left} more host calls"
            self.difference = CallDifference(self._calls + 1, None, f"host call {self._calls + 1}: {more}")
        return self.difference

    def _tell_end(self) -> str:
        if self._end.cut:
            return "the record was cut here: its limit was reached in the recorded run"
        return "the record has no more"

    def _differ(
        self, byte: int | None, message: str, asked: str, recorded: str | None = None, *, is_cut: bool = False
    ) -> NoReturn:
        message = f"host call {self._calls}: {message}"
        self.difference = CallDifference(self._calls, byte, message, is_cut, asked, recorded)
        raise OtherwiseError(message)

    def _fail(self, entry: JournalEntry) -> NoReturn:
        message = entry.answer.decode(errors="replace")
        if entry.failure == "stopped":
            self._stop.stop(StopReason.__members__.get(message, StopReason.TIMEOUT))
            raise StoppedError
        if entry.failure == "guest":
            raise GuestFailedError(message)
        raise DeniedError(message) if entry.failure == "denied" else ServiceError(message)
