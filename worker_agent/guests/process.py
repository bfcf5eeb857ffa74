"""A guest process as the agent sees it: starting it, talking to it, ending it."""

import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import piecework
from piecework.worker_agent.guests.assignment import ProcessEnd
from piecework.worker_agent.guests.frames import (
    LOAD_S,
    Equip,
    Frame,
    FrameError,
    FromGuests,
    pack_into,
    read_reports,
)
from piecework.worker_agent.guests.marker import MARKER_BYTES, Marker
from piecework.worker_agent.runtimes import Engine
from piecework.worker_agent.runtimes.base import COMPILE_BYTES
from piecework.worker_agent.runtimes.services.access import NodeRules

_RECEIVE_BYTES = 262_144
_LAST_WORDS_BYTES = 4000
_PROGRAM = (sys.executable, "-P", "-m", "piecework.worker_agent.guests.child")
_SOURCE = Path(piecework.__file__).parent.parent
_END_BY_ITSELF_S = 0.2
_END_WITHIN_S = 10.0
"""How long to wait for a process that closed its link, and for one that was killed."""


class GuestProcess:
    """A running guest process. Nothing here waits, but ``kill`` and ``bury``.

    Must be started by a thread that outlives it: the kernel ends the process together with that thread.
    """

    def __init__(
        self,
        *,
        compiled: Path,
        last_words: Path,
        interpreters: Path | None = None,
        rules: NodeRules | None = None,
        load_s: float = LOAD_S,
        compile_bytes: int = COMPILE_BYTES,
        engine: Engine = "cranelift",
        shared: Sequence[int] = (),
        scratch: Path | None = None,
    ) -> None:
        """Start it; it lets guests do what ``rules`` allow.

        It compiles for ``load_s`` at most, with ``compile_bytes`` of memory, for ``engine`` unless a task
        says otherwise. It has the descriptors ``shared``, too, under the same numbers, and puts files of guests
        into ``scratch``; None: where the system has such. Raises OSError when that is not possible.
        """
        self.last_words = last_words
        """The file with what it wrote to its standard error."""
        self._reader = read_reports()
        self._outbox = bytearray()
        self.link, far_end = socket.socketpair()
        self.link.setblocking(False)
        with far_end:
            try:
                self._process, self._marker = self._launch(
                    far_end.fileno(),
                    [each for each in (compiled, interpreters) if each is not None],
                    shared,
                    scratch,
                )
            except OSError:
                self.link.close()
                raise
        # Over the link, not on the command line: there others could read passwords.
        self.send(Equip(0, rules or NodeRules(), load_s, compile_bytes, engine))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def working_on(self) -> int:
        """The key of the task that it began last, also when it is dead; 0: it began none."""
        return self._marker.get()

    @property
    def has_mail(self) -> bool:
        """There are bytes that the process did not take yet."""
        return bool(self._outbox)

    def awaited_events(self) -> int:
        """Return the events of ``selectors`` on ``link`` that matter now."""
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self._outbox else 0)

    def send(self, *frames: Frame) -> None:
        """Send frames, as far as the process takes them now; ``flush`` sends the rest."""
        for frame in frames:
            pack_into(self._outbox, frame)
        self.flush()

    def flush(self) -> None:
        """Send what waits. A process that is gone is noticed when it is read."""
        try:
            while self._outbox:
                sent = self.link.send(self._outbox)
                del self._outbox[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._outbox.clear()

    def receive(self) -> tuple[list[FromGuests], bool]:
        """Return the frames that came, and whether the process is still there."""
        frames: list[FromGuests] = []
        try:
            while data := self.link.recv(_RECEIVE_BYTES):
                frames += self._reader.feed(data)
                if len(data) < _RECEIVE_BYTES:
                    return frames, True
        except BlockingIOError:
            return frames, True
        except (OSError, FrameError):
            return frames, False
        return frames, False

    def kill(self) -> str:
        """End the process at once, and tell how it ended. Waits the moment that this takes."""
        self._process.kill()
        try:
            return self._wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            # It hangs in the kernel, where nobody can help it.
            self.link.close()
            return f"no end within {_END_WITHIN_S:g} s of SIGKILL"

    def bury(self) -> str:
        """Wait for a process that closed its link, and tell how it ended: ``SIGSEGV``, or ``exit code 1``."""
        try:
            return self._wait(_END_BY_ITSELF_S)
        except subprocess.TimeoutExpired:
            return self.kill()

    def end(self, *, kill: bool) -> ProcessEnd:
        """Kill the process, or wait for one that closed its link, and tell how it ended."""
        how = self.kill() if kill else self.bury()
        return ProcessEnd(how, self.read_last_words(), self.working_on)

    def _launch(
        self, link_fd: int, folders: Sequence[Path], shared: Sequence[int], scratch: Path | None
    ) -> "tuple[subprocess.Popen[bytes], Marker]":
        temporary = {} if scratch is None else {"TMPDIR": str(scratch)}
        with self.last_words.open("wb") as stderr, tempfile.TemporaryFile() as memory:
            memory.truncate(MARKER_BYTES)
            marker = Marker(memory.fileno())
            process = subprocess.Popen(  # noqa: S603  # our own program, in our own interpreter
                [*_PROGRAM, str(link_fd), str(memory.fileno()), str(os.getpid()), *map(str, folders)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=[link_fd, memory.fileno(), *shared],
                # Nothing of the agent's environment: it may hold tokens.
                env={"PYTHONPATH": str(_SOURCE), "PATH": os.defpath, "LANG": "C.UTF-8"} | temporary,
                # A Ctrl-C in the agent's terminal is for the agent.
                start_new_session=True,
            )
            return process, marker

    def _wait(self, seconds: float) -> str:
        code = self._process.wait(seconds)
        self.link.close()
        return describe_end(code)

    def read_last_words(self) -> str:
        """Return the end of what it wrote to its standard error."""
        try:
            return self.last_words.read_bytes()[-_LAST_WORDS_BYTES:].decode(errors="replace").strip()
        except OSError:
            return ""


def describe_end(code: int) -> str:
    """Tell how a process ended, from its return code: by itself, or by which signal."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
