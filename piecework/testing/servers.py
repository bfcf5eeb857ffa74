"""A server and an agent for tests, as child processes; the server's clock can be moved."""

import mmap
import struct
import sys
import threading
from pathlib import Path

from piecework.client import Client
from piecework.http.deadlines import Deadline
from piecework.local import START_TIMEOUT_S, LocalAgent, LocalServer, ProgramError

LOOK_S = 0.02
NAME = "test-agent"
OFFSET = struct.Struct("q")
"""How the file of a clock holds its offset, milliseconds."""


class MovableClock:
    """How far a server's clock is ahead of this machine's. It goes on by itself, and forward only."""

    def __init__(self, file: Path) -> None:
        """Make the file through which the server is told."""
        file.write_bytes(bytes(OFFSET.size))
        with file.open("r+b") as opened:
            self._memory = mmap.mmap(opened.fileno(), OFFSET.size)

    @property
    def ahead_s(self) -> float:
        """How far it is ahead, seconds."""
        return float(OFFSET.unpack_from(self._memory)[0] / 1000)

    def forward(self, seconds: float) -> None:
        """Move the clock; within a second the server does what is due then. Raises ValueError for backward.

        Jobs that run meanwhile may lose their leases: these end by the same clock.
        """
        if seconds < 0:
            raise ValueError("a clock is moved forward only")
        OFFSET.pack_into(self._memory, 0, OFFSET.unpack_from(self._memory)[0] + round(seconds * 1000))


class ServerForTests(LocalServer):
    """A control server on 127.0.0.1 whose clock can be moved; it is ready when the constructor returns."""

    def __init__(self, folder: Path) -> None:
        """Start it with its data, its log and the file of its clock in ``folder``. Raises ProgramError."""
        self._file = folder / "clock"
        self.clock = MovableClock(self._file)
        super().__init__(folder)

    def make_command(self, part: str) -> list[str]:  # noqa: ARG002  # there is one
        return [sys.executable, "-P", "-m", "piecework.server.cli.testing", "--clock", str(self._file)]


def start_agent(server: LocalServer, folder: Path) -> LocalAgent:
    """Start an agent that runs two jobs at once, and wait until it is registered. Raises ProgramError."""
    agent = LocalAgent(server.url, folder, NAME, "--slots", "2", environ={"PIECEWORK_TOKEN": ""})
    deadline, pause = Deadline(START_TIMEOUT_S), threading.Event()
    with Client(server.url, "") as client:
        while not any(worker.name == NAME for worker in client.workers()):
            if agent.exit_code is not None or deadline.is_over():
                log = agent.read_log()
                agent.kill()
                raise ProgramError(f"the agent did not register:\n{log}")
            pause.wait(LOOK_S)
    return agent
