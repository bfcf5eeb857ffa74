"""Tasks, and a guest process that does what the test says."""

import itertools
from collections import deque
from pathlib import Path

import pytest

from worker_agent.guests.assignment import Assignment
from worker_agent.runtimes.base import Bounds
from worker_agent.tasks import File, LeasedTask, Task

JOBS = itertools.count(1)


class ScriptedProcess:
    """Stands for a guest process: keeps what it is sent, says what the test puts into ``reports``."""

    def __init__(self):
        self.sent = []
        self.reports = deque()
        self.alive = True
        self.killed = False
        self.end = "exit code 0"
        self.last_words = ""
        self.has_mail = False
        self.working_on = 0

    def send(self, *frames):
        self.sent.extend(frames)

    def flush(self):
        pass

    def receive(self):
        frames = list(self.reports)
        self.reports.clear()
        return frames, self.alive

    def kill(self):
        self.killed, self.alive = True, False
        return "SIGKILL"

    def bury(self):
        return self.end

    def read_last_words(self):
        return self.last_words

    def keys(self, kind):
        return [frame.key for frame in self.sent if isinstance(frame, kind)]


@pytest.fixture
def make_process():
    return ScriptedProcess


@pytest.fixture
def make_task():
    """Return a function that makes a task; its code and input exist nowhere unless given."""

    def make(*, job=None, codex=Path("/nowhere"), checksum="", given=b"", runtime="wasi", **limits):
        number = next(JOBS) if job is None else job
        known = {"timeout_s": 10.0, "memory_bytes": 16 << 20, "output_bytes": 16 << 20, "log_bytes": 1000}
        task = Task(
            runtime=runtime,
            codex=str(codex),
            checksum=checksum,
            input=given if isinstance(given, bytes) else File(str(given)),
            bounds=Bounds(**known | limits),
        )
        return LeasedTask(number, f"lease of {number}", task)

    return make


@pytest.fixture
def make_assignment(make_task, tmp_path):
    keys = itertools.count(1)

    def make(**fields):
        key = next(keys)
        return Assignment(key, make_task(**fields), str(tmp_path / f"{key}.out"))

    return make
