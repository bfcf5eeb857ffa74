"""What every queue in the comparison can do, and how a queue with worker processes of its own is run."""

import asyncio
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from harness.usage import end_tree

T = TypeVar("T")

DEADLINE_S = 60.0
"""No batch of jobs may take longer."""
STOP_TIMEOUT_S = 5.0
"""Workers that have not ended by then are killed; some wait for ever."""
BIN = Path(sys.executable).parent
"""Where the commands of the queues are installed."""
WORKERS = 2
"""Worker processes of each queue: one for each core of the machine that the comparison was written on."""


class Contestant(ABC):
    """One queue. The driver calls ``start``, then ``run_all`` and ``run_one``, at last ``stop``."""

    @abstractmethod
    def start(self) -> None:
        """Prepare the storage and start the workers."""

    @abstractmethod
    def run_all(self, payloads: list[str]) -> list[str | None]:
        """Submit jobs the way the queue does it best, and return their answers in that order."""

    @abstractmethod
    def run_one(self, payload: str) -> str | None:
        """Submit one job, wait for it, and return its answer."""

    @abstractmethod
    def groups(self) -> Mapping[str, list[int]]:
        """Return the processes beside the backend and this one, by what they are called in tables."""

    def versions(self) -> dict[str, str]:
        """Return the versions of what is no package of Python."""
        return {}

    @abstractmethod
    def stop(self) -> None:
        """End everything that was started. Safe to repeat, and after a start that failed."""


class Peer(Contestant):
    """A queue whose workers are started with a command of its own."""

    def __init__(self) -> None:
        self._workers: list[subprocess.Popen[bytes]] = []

    def prepare(self) -> None:
        """Make tables and connections, before the workers start."""

    @abstractmethod
    def commands(self) -> list[list[str]]:
        """Return the commands that start the workers."""

    def start(self) -> None:
        self.prepare()
        for command in self.commands():
            self._workers.append(subprocess.Popen(command, stdout=sys.stderr, stderr=sys.stderr))

    def groups(self) -> Mapping[str, list[int]]:
        return {"workers": [worker.pid for worker in self._workers]}

    def stop(self) -> None:
        end_tree(self._workers, STOP_TIMEOUT_S)


class AsyncPeer(Peer):
    """A queue whose submitter is written with coroutines."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.new_event_loop()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end."""
        return self._loop.run_until_complete(work)


def backend_url() -> str:
    """Return where this run stores its jobs; its driver and its workers read it from their environment."""
    return os.environ["BENCH_BACKEND"]


def scratch() -> Path:
    """Return the folder of this run."""
    return Path(os.environ["BENCH_FOLDER"])
