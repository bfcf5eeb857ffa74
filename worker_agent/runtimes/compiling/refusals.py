"""Why code could not be compiled, kept beside compiled code for whoever asks next."""

import contextlib
import faulthandler
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from piecework.worker_agent.runtimes.base import LoadError

KEPT_S = 24 * 3600.0
"""A refusal is forgotten after this: nothing proves for ever that it was the code's fault."""
WORTH_S = 1.0
"""What is refused sooner is compiled again each time: that costs less than to remember it."""
GAVE_UP = 75
"""How a process exits whose compiler took too long; of ``sysexits.h``, where it is EX_TEMPFAIL."""
TOO_LARGE = "the module takes more memory to compile than a node has for that (--compile-memory)"
_OUT_OF_MEMORY = ("memory allocation of", "out-of-memory")
"""The last words of native code that got no more memory."""
_CRASH = "Fatal Python error: "
_STDERR = 2
_OF_THE_NODE = "os error"
"""In what wasmtime says when the system refused something: no fault of the code."""


class Refusal:
    """A file that says why code cannot be compiled; while a process tries, it is there and empty.

    So whoever is killed from outside leaves nothing that counts. For processes that somebody replaces; one at a
    time, for it is their standard handler of native faults that writes there.
    """

    def __init__(
        self,
        path: Path,
        patience_s: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        process_time: Callable[[], float] = time.process_time,
    ) -> None:
        """Keep it in the file ``path``. Compiling may take ``patience_s``, wall time."""
        self._path = path
        self._patience_s = patience_s
        self._monotonic = monotonic
        self._process_time = process_time

    def check(self) -> None:
        """Raise LoadError when somebody tried within a day, and it would fail again."""
        reason = _explain(self._read())
        if reason:
            raise LoadError(f"{reason} (this node knows that from before, and tries again after a day)")

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Note why the block that compiles comes to no good end, or why this process does not survive it.

        Ends the process, with ``GAVE_UP``, when the block takes too long. Raises OSError without an empty file.
        """
        started, reason = self._monotonic(), ""
        try:
            with self._path.open("wb", buffering=0) as file, self._leaving_word(file):
                yield
        except LoadError as error:
            if self._monotonic() - started >= WORTH_S and _OF_THE_NODE not in str(error):
                reason = str(error)
            raise
        finally:
            self._path.unlink(missing_ok=True)
            if reason:
                with contextlib.suppress(OSError):
                    self._path.write_text(reason)

    @contextmanager
    def _leaving_word(self, file: FileIO) -> Iterator[None]:
        """Have the file explain an end of this process within the block, and end it when the block is overdue."""
        timer = threading.Timer(self._patience_s, self._give_up, (file, self._process_time()))
        timer.daemon = True
        faulthandler.enable(file)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            faulthandler.enable(_STDERR)

    def _give_up(self, file: FileIO, cpu_started: float) -> None:
        # With less, others took the CPUs: another time it may be quick enough.
        if self._process_time() - cpu_started >= self._patience_s / 2:
            with contextlib.suppress(OSError):
                file.write(explain_overdue(self._patience_s).encode())
        os._exit(GAVE_UP)

    def _read(self) -> str:
        with contextlib.suppress(OSError):
            if abs(time.time() - self._path.stat().st_mtime) < KEPT_S:
                return self._path.read_text(errors="replace")
        return ""


def explain_overdue(patience_s: float) -> str:
    """Return why code is refused that takes too long."""
    return f"the module was not compiled within {patience_s:g} s"


def explain_end(end: str, last_words: str, patience_s: float) -> str:
    """Return why code is refused at which a process ended so, saying this. Empty: it was not the code's fault."""
    if end == f"exit code {GAVE_UP}":
        return explain_overdue(patience_s)
    return TOO_LARGE if any(said in last_words for said in _OUT_OF_MEMORY) else ""


def _explain(noted: str) -> str:
    """Return why code is refused, from what was noted; empty: it is not."""
    if not noted.startswith(_CRASH):
        return noted
    fault = noted.removeprefix(_CRASH).partition("\n")[0]
    if fault == "Aborted":
        return TOO_LARGE
    return f"the compiler broke down at the module: {fault}"
