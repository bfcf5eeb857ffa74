"""A server and agents as child processes of this one: for demos, for tests, for trying a lambda on one machine.

They run the same commands as a real installation. Nothing here talks to them but through ports and signals.
"""

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

START_TIMEOUT_S = 180.0
"""A busy machine takes its time; what cannot start ends by itself, and is noticed then."""
STOP_TIMEOUT_S = 45.0
"""Longer than an agent's drain, so that an orderly end is never cut short."""
LOOK_S = 0.02

UNTOUCHED = {"PIECEWORK_CONFIG": os.devnull, "PIECEWORK_PROFILE": ""}
"""What keeps a program from the user's configuration files."""
LISTENING = re.compile(r"listening on http://127\.0\.0\.1:(\d+)")


class ProgramError(Exception):
    """A child process ended, or did not do in time what was waited for; the message has the end of its log."""


class ChildProgram:
    """A child process whose output goes to a log file. Leaving its ``with`` block stops it."""

    def __init__(self, name: str, command: list[str], log: Path, environ: Mapping[str, str] | None = None) -> None:
        """Start the command, with ``environ`` added to this process's environment, and no configuration file."""
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log_start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            # In a process group of its own Ctrl-C reaches only this process, which then stops it in order.
            self._process = subprocess.Popen(  # noqa: S603  # our own commands
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | UNTOUCHED | {"PYTHONUNBUFFERED": "1", **(environ or {})},
                process_group=0,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def read_log(self) -> str:
        """Return what it has printed since this start; the file also has what earlier ones printed."""
        return self.log.read_bytes()[self._log_start :].decode(errors="replace")

    def wait_for_line(self, pattern: re.Pattern[str], timeout_s: float = START_TIMEOUT_S) -> re.Match[str]:
        """Wait until its log has ``pattern`` and return the last match. Raises ProgramError."""
        until, pause = time.monotonic() + timeout_s, threading.Event()
        while True:
            found = list(pattern.finditer(self.read_log()))
            if found:
                return found[-1]
            if self.exit_code is not None:
                raise ProgramError(f"{self.name} ended with exit code {self.exit_code}:\n{self._log_end()}")
            if time.monotonic() > until:
                raise ProgramError(f"{self.name} did not log {pattern.pattern!r} in time:\n{self._log_end()}")
            pause.wait(LOOK_S)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens when it has ended."""
        self._process.send_signal(number)

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait for its end and return the exit code. Raises ProgramError."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise ProgramError(f"{self.name} did not end in {timeout_s:g} s:\n{self._log_end()}") from error

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Ask it to end, kill it when it does not, and return the exit code. Safe to repeat."""
        stop_together([self], timeout_s)
        return self.wait()

    def kill(self) -> int:
        """End it at once, as a power cut would, and return the exit code."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def _log_end(self) -> str:
        return "\n".join(self.read_log().splitlines()[-15:])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class LocalServer(ChildProgram):
    """A control server on 127.0.0.1; it is ready when the constructor returns."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        port: int = 0,
        part: str = "run",
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Start a server with its data and log in ``folder``; port 0: a free one. Raises ProgramError.

        ``part``: the command that starts it; another than ``run`` starts a part of it alone.
        """
        self.data = folder / "data"
        command = [*self.make_command(part), "--data", str(self.data), "--port", str(port), *options]
        super().__init__("the server", command, folder / "server.log", environ)
        try:
            self.port = int(self.wait_for_line(LISTENING)[1])
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def make_command(self, part: str) -> list[str]:
        """Return the command that starts a part, without its options."""
        return [sys.executable, "-m", "piecework", "server", part]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _wait_until_ready(self) -> None:
        until, pause = time.monotonic() + START_TIMEOUT_S, threading.Event()
        while not is_ready(self.port):
            if self.exit_code is not None or time.monotonic() > until:
                raise ProgramError(f"the server did not get ready:\n{self._log_end()}")
            pause.wait(LOOK_S)


def is_ready(port: int) -> bool:
    """Tell whether the server on this port of 127.0.0.1 says that it can work."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class LocalAgent(ChildProgram):
    """An agent; it registers by itself, now or when the server answers."""

    def __init__(
        self, url: str, folder: Path, name: str, *options: str, environ: Mapping[str, str] | None = None
    ) -> None:
        """Start an agent with its state and log in ``folder``."""
        self.state = folder / name
        command = [sys.executable, "-m", "piecework", "worker", "run", "--server", url, "--name", name]
        super().__init__(
            f"agent {name}", [*command, "--state", str(self.state), *options], folder / f"{name}.log", environ
        )


def stop_together(programs: Iterable[ChildProgram], timeout_s: float = STOP_TIMEOUT_S) -> None:
    """Ask all of them to end, then wait for each; one that does not end in time is killed."""
    ending = list(programs)
    for program in ending:
        program.signal(signal.SIGTERM)
    for program in ending:
        try:
            program.wait(timeout_s)
        except ProgramError:
            program.kill()


@dataclass(frozen=True)
class House:
    """A server and the agents that work for it."""

    server: LocalServer
    agents: list[LocalAgent]


@contextmanager
def open_house(folder: Path, *agent_options: str, agents: int = 2, port: int = 0) -> Iterator[House]:
    """Run a server and agents named ``agent-1`` and so on; agents stop first, so that they hand in what they have.

    Everything they store and log lies in ``folder``. Raises ProgramError when the server does not start.
    """
    with LocalServer(folder, port=port) as server:
        started: list[LocalAgent] = []
        try:
            for number in range(1, agents + 1):
                agent = LocalAgent(server.url, folder, f"agent-{number}", *agent_options)
                started.append(agent)  # at once, so that it is stopped when a later one fails
            yield House(server, started)
        finally:
            stop_together(started)
