"""A ``worker-agent serve`` process: starting it, reading what it writes, asking how it does, ending it."""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import piecework
from piecework.worker_agent.errors import AgentError
from piecework.worker_agent.guests.process import describe_end
from piecework.worker_agent.replicas.probing import probe
from piecework.worker_agent.replicas.replica import ReplicaFigures
from piecework.worker_agent.runtimes.streams import LogTail

PROGRAM = (sys.executable, "-P", "-c", "from piecework.worker_agent.cli import main; main()")
"""The command ``worker-agent``, wherever it is installed."""
INPUT_MAX_BYTES = 60_000
"""So much fits into a pipe before somebody reads it."""
_SOURCE = Path(piecework.__file__).parent.parent
_READ_BYTES = 64 * 1024
_LAST_WORDS_BYTES = 4096
_TRAIL_S = 0.5
"""For what children of an ended process still write."""
_KILL_S = 10.0
_WORDLESS = (0, -signal.SIGKILL)
"""Ends about which a process says nothing itself."""


class ServeProcess:
    """One process. Nothing here waits but ``probe`` and ``kill``.

    Must be started by a thread that outlives it: the kernel ends the process together with that thread.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        given: bytes,
        environ: Mapping[str, str],
        url: str,
        log: LogTail,
        on_end: Callable[[], None],
        program: Sequence[str] = PROGRAM,
        token: str = "",
    ) -> None:
        """Start it. ``given``, its standard input, and ``environ`` may hold secrets; ``arguments`` must not.

        ``log`` takes what functions log. ``on_end`` is called, from another thread, when the process has ended.
        Raises AgentError.
        """
        if len(given) > INPUT_MAX_BYTES:
            raise AgentError(
                f"its environment has {len(given)} bytes, it must not have more than {INPUT_MAX_BYTES}"
            )
        self.url = url
        self._token = token
        self._on_end = on_end
        self._last_words = LogTail(_LAST_WORDS_BYTES)
        try:
            self._process = subprocess.Popen(  # noqa: S603  # our own program, in our own interpreter
                [*program, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # Nothing of the agent's environment but what is meant for it: there are tokens in it.
                env={
                    "PYTHONPATH": str(_SOURCE),
                    "PATH": os.defpath,
                    "LANG": "C.UTF-8",
                    "PYTHONUNBUFFERED": "1",
                    **environ,
                },
                start_new_session=True,  # a Ctrl-C in the agent's terminal is for the agent
            )
        except OSError as error:
            raise AgentError(f"cannot start a process: {error.strerror}") from error
        with contextlib.suppress(BrokenPipeError), _open(self._process.stdin) as stdin:
            stdin.write(given)
        outputs = {_open(self._process.stdout): log, _open(self._process.stderr): self._last_words}
        self._reader = threading.Thread(
            target=self._read, args=(outputs,), name=f"read-{self._process.pid}", daemon=True
        )
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def find_end(self) -> str | None:
        """Tell why it ended; None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        self._reader.join(2 * _TRAIL_S)
        end = f"it ended: {describe_end(code)}"
        last = self._last_words.last_line()
        return end if code in _WORDLESS or not last else f"{end}; {last}"

    def probe(self) -> ReplicaFigures | None:
        """Ask how it does; None: it gave no good answer in time."""
        return probe(self.url, self._token)

    def drain(self) -> None:
        """Tell it to end after the calls that it has."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, and wait for that. Its own children end with it."""
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it hangs in the kernel
            self._process.wait(_KILL_S)

    def _read(self, outputs: Mapping[IO[bytes], LogTail]) -> None:
        """Keep the newest of all that it writes, until it has ended."""
        with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
            for output, tail in outputs.items():
                selector.register(stack.enter_context(output), selectors.EVENT_READ, tail)
            # A process ends before its children close their ends of the pipes.
            with contextlib.suppress(AttributeError, OSError):  # not on every system
                end = os.pidfd_open(self._process.pid)
                stack.callback(os.close, end)
                selector.register(end, selectors.EVENT_READ)
            self._follow(selector)
        self._process.wait()  # pipes are closed a moment before
        self._on_end()

    def _follow(self, selector: selectors.BaseSelector) -> None:
        left_s: float | None = None
        while selector.get_map() and (ready := selector.select(left_s)):
            for key, _ in ready:
                data = b"" if key.data is None else os.read(key.fd, _READ_BYTES)
                if data:
                    key.data.write(data)
                    continue
                selector.unregister(key.fileobj)
                if key.data is None:
                    left_s = _TRAIL_S
                    self._on_end()


def _open(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None, "it was asked for"
    return pipe
