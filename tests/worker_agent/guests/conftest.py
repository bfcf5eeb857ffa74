"""Tasks, and assignments of them."""

import itertools
from pathlib import Path

import pytest

from piecework.worker_agent.guests.assignment import ProcessEnd
from piecework.worker_agent.guests.frames import Assign
from piecework.worker_agent.guests.leased import LeasedAssignment
from piecework.worker_agent.guests.slot import Order
from piecework.worker_agent.runtimes.base import Bounds
from piecework.worker_agent.tasks import File, LeasedTask, Task

JOBS = itertools.count(1)


class Process:
    """What a slot had sent to one guest process, and how that is to end."""

    def __init__(self):
        self.sent = []
        self.killed = False
        self.end, self.last_words, self.working_on = "exit code 0", "", 0

    def keys(self, kind):
        return [frame.key for frame in self.sent if isinstance(frame, kind)]


class Driver:
    """Carries out the orders of slots, on a clock that the test moves."""

    def __init__(self):
        self.now = 1000.0
        self.start_error = ""
        self.all = {}
        """The processes of each slot, one after the other."""

    def obey(self, slot, order):
        processes = self.all.setdefault(slot, [])
        if order is Order.START and self.start_error:
            slot.failed(self.start_error, self.now)
        elif order is Order.START:
            processes.append(Process())
            slot.started(self.now)
        else:
            process = processes[-1]
            process.killed = order is Order.KILL
            slot.ended(ProcessEnd(process.end, process.last_words, process.working_on), self.now)

    def send(self, slot):
        frames, slot.outbox = slot.outbox, []
        if frames:
            self.all[slot][-1].sent += frames


@pytest.fixture
def driver():
    return Driver()


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

    def make(*, goes_ahead=True, **fields):
        key = next(keys)
        leased = make_task(**fields)
        return LeasedAssignment(
            key, Assign(key, leased.task, str(tmp_path / f"{key}.out")), goes_ahead, leased=leased
        )

    return make
