"""Guests that misbehave in every way, each beside guests that do not: real processes, real limits."""

import hashlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import wasmtime

from piecework.protocol.codes import ErrorKind
from piecework.worker_agent.guests import process as guest_process
from piecework.worker_agent.guests.executor import Executor
from piecework.worker_agent.runtimes.base import Bounds
from piecework.worker_agent.tasks import LeasedTask, Task

pytestmark = pytest.mark.integration

GUESTS = Path(__file__).parents[1] / "guests" / "wasi"
MIB = 1024 * 1024
WAIT_S = 60
JOBS = itertools.count(1)


class Owner:
    """Owns an executor and remembers what it reported, and when."""

    def __init__(self, folder, **options):
        self.folder = folder
        self.results, self.reports = {}, []
        self._changed = threading.Condition()
        self.executor = Executor(
            scratch=folder / "scratch", compiled=folder / "compiled", on_done=self._on_done, **options
        )
        self.executor.start()

    def _on_done(self, ended):
        with self._changed:
            self.results.update({task.job: result for task, result in ended})
            self.reports += [task.job for task, _ in ended]
            self._changed.notify_all()

    def submit(self, *tasks):
        for task in tasks:
            self.executor.submit(task)

    def wait_for(self, *tasks):
        with self._changed:
            assert self._changed.wait_for(lambda: all(task.job in self.results for task in tasks), WAIT_S)
            return [self.results[task.job] for task in tasks]

    def wait_until(self, condition):
        pause = threading.Event()
        end = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < end, "it did not come to that"
            pause.wait(0.005)

    def make(self, guest, *, given=b"", **limits):
        code = (
            guest if isinstance(guest, bytes) else bytes(wasmtime.wat2wasm((GUESTS / f"{guest}.wat").read_text()))
        )
        checksum = hashlib.sha256(code).hexdigest()
        path = self.folder / checksum
        # Once: a guest process may be reading it.
        if not path.exists():
            path.write_bytes(code)
        job = next(JOBS)
        known = {"timeout_s": 20.0, "memory_bytes": 64 * MIB, "output_bytes": 16 * MIB, "log_bytes": 1000}
        task = Task(
            runtime="default", codex=str(path), checksum=checksum, input=given, bounds=Bounds(**known | limits)
        )
        return LeasedTask(job, f"lease of {job}", task)

    def submit_one(self, guest, given):
        task = self.make(guest, given=given)
        self.submit(task)
        return task

    def pid_of(self, task):
        """Return the process that runs a task."""
        processes = self.executor._processes.items()
        (pid,) = [process.pid for slot, process in processes if slot.tasks and slot.tasks[0].leased is task]
        return pid

    def processes_of(self, pids):
        return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


@pytest.fixture
def make_owner(tmp_path):
    owners = []

    def make(*, slots=2, **options):
        owners.append(Owner(tmp_path, slots=slots, **options))
        return owners[-1]

    yield make
    for owner in owners:
        pids = owner.executor.pids
        owner.executor.stop(5)
        assert owner.processes_of(pids) == []


def test_each_kind_of_misbehaviour_has_its_own_end_and_costs_no_other_job(make_owner):
    owner = make_owner()
    cases = [
        (owner.make("loop", timeout_s=1.0), ErrorKind.TIMEOUT),
        (owner.make("sleep", timeout_s=1.0), ErrorKind.TIMEOUT),
        (owner.make("eat_memory", memory_bytes=32 * MIB), ErrorKind.MEMORY),
        (owner.make("flood_output", output_bytes=8 * MIB), ErrorKind.OUTPUT),
        (owner.make("loop", fuel=1_000_000), ErrorKind.FUEL),
        (owner.make("trap"), ErrorKind.TRAP),
        (owner.make("fail"), ErrorKind.GUEST),
        (owner.make("unknown_import"), ErrorKind.LOAD),
        (owner.make(b"no wasm"), ErrorKind.LOAD),
    ]
    bad = [task for task, _ in cases]
    owner.wait_until(lambda: len(owner.executor.pids) == 2)
    pids = owner.executor.pids
    good = []
    for task in bad:
        neighbours = [owner.make("echo", given=b"%d" % number) for number in range(20)]
        good += neighbours
        owner.submit(task, *neighbours)
    assert [result.error.kind for result in owner.wait_for(*bad)] == [kind for _, kind in cases]
    assert [result.output for result in owner.wait_for(*good)] == [task.task.input for task in good]
    assert sorted(owner.reports) == sorted(task.job for task in bad + good)
    # None of them cost a process.
    assert owner.executor.pids == pids


def test_time_limits_are_kept_for_guests_that_compute_and_that_sleep(make_owner):
    owner = make_owner()
    tasks = [owner.make("loop", timeout_s=0.5), owner.make("sleep", timeout_s=0.5)]
    owner.submit(*tasks)
    for result in owner.wait_for(*tasks):
        assert 0.4 < result.usage.wall_s < 10  # the agent hears of the beginning somewhat late


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_crash_of_a_process_costs_its_own_job_only(make_owner, number):
    owner = make_owner()
    # Once, so that its code is compiled: a crash of the compiler is blamed on the code.
    owner.submit(first := owner.make("sleep", timeout_s=0.1))
    owner.wait_for(first)
    victim, other = owner.make("sleep"), owner.make("sleep", timeout_s=3.0)
    owner.submit(victim, other)
    owner.wait_until(lambda: owner.executor.busy == 2)
    neighbours = [owner.make("echo", given=b"%d" % each) for each in range(50)]
    owner.submit(*neighbours)
    pid = owner.pid_of(victim)
    os.kill(pid, number)
    (result,) = owner.wait_for(victim)
    assert result.error.kind is ErrorKind.TRAP
    assert number.name in result.error.message
    assert [result.output for result in owner.wait_for(*neighbours)] == [task.task.input for task in neighbours]
    assert owner.wait_for(other)[0].error.kind is ErrorKind.TIMEOUT
    assert len(owner.executor.pids) == 2
    assert pid not in owner.executor.pids


def test_crash_among_many_quick_jobs_costs_one_at_most(make_owner):
    owner = make_owner()
    owner.wait_for(owner.submit_one("echo", b""))
    tasks = [owner.make("echo", given=b"%d" % number) for number in range(600)]
    owner.submit(*tasks)
    kills = (100, 250, 400)
    for number in kills:
        owner.wait_for(tasks[number])
        os.kill(owner.executor.pids[0], signal.SIGKILL)
    results = owner.wait_for(*tasks)
    failed = [result for result in results if result.error is not None]
    assert len(failed) <= len(kills)
    assert all(result.error.kind is ErrorKind.TRAP for result in failed)
    assert all(
        result.error or result.output == task.task.input for task, result in zip(tasks, results, strict=True)
    )
    assert sorted(owner.reports[1:]) == [task.job for task in tasks]


def test_process_that_hangs_is_killed_when_limit_and_grace_are_over(make_owner):
    owner = make_owner(slots=1, grace_s=0.5)
    # Once, so that its code is loaded: loading has another limit.
    owner.submit(first := owner.make("sleep", timeout_s=0.1))
    owner.wait_for(first)
    hanging, next_task = owner.make("sleep", timeout_s=1.0), owner.make("echo", given=b"next")
    owner.submit(hanging, next_task)
    owner.wait_until(lambda: owner.executor.busy == 1)
    pid = owner.pid_of(hanging)
    os.kill(pid, signal.SIGSTOP)
    result, next_result = owner.wait_for(hanging, next_task)
    assert result.error.kind is ErrorKind.TIMEOUT
    assert 1.4 < result.usage.wall_s < 10
    assert next_result.output == b"next"
    assert owner.processes_of([pid]) == []


def test_cancelled_guest_ends_at_once_even_when_its_process_hangs(make_owner):
    owner = make_owner(slots=1)
    for hangs in (False, True):
        task = owner.make("loop")
        owner.submit(task)
        owner.wait_until(lambda: owner.executor.busy == 1)
        if hangs:
            os.kill(owner.pid_of(task), signal.SIGSTOP)
        started = time.monotonic()
        assert owner.executor.cancel(task.job, task.lease)
        (result,) = owner.wait_for(task)
        assert result.cancelled
        assert time.monotonic() - started < 2.5


def test_tasks_sent_ahead_of_a_crash_are_run_all_the_same(make_owner):
    owner = make_owner(slots=1, depth=8)
    owner.submit(*(quick := [owner.make("echo") for _ in range(20)]))
    owner.wait_for(*quick)
    victim = owner.make("sleep")
    behind = [owner.make("echo", given=b"%d" % each) for each in range(7)]
    owner.submit(victim, *behind)
    assert owner.executor.waiting == 7
    os.kill(owner.pid_of(victim), signal.SIGKILL)
    assert owner.wait_for(victim)[0].error.kind is ErrorKind.TRAP
    assert [result.output for result in owner.wait_for(*behind)] == [task.task.input for task in behind]


def unsigned(number):
    """Return a number in the variable-length form of wasm binaries."""
    data = b""
    while number > 127:
        data += bytes([number & 127 | 128])
        number >>= 7
    return data + bytes([number])


def section(number, content):
    return bytes([number]) + unsigned(len(content)) + content


def make_compile_bomb(loops):
    """Return a small valid command that takes long to compile: one function with many loops in a row."""
    loop = b"\x03\x40\x20\x00\x41\x03\x6c\x22\x00\x0d\x00\x0b"
    body = b"\x01\x01\x7f" + loop * loops + b"\x0b"
    return (
        b"\0asm\x01\0\0\0"
        + section(1, b"\x01\x60\0\0")
        + section(3, b"\x01\0")
        + section(7, b"\x01\x06_start\0\0")
        + section(10, b"\x01" + unsigned(len(body)) + body)
    )


def test_code_that_takes_too_long_to_compile_is_a_load_error(make_owner):
    owner = make_owner(load_s=1.0)
    bomb, good = owner.make(make_compile_bomb(40_000)), owner.make("echo", given=b"good")
    started = time.monotonic()
    owner.submit(bomb, good)
    result, other = owner.wait_for(bomb, good)
    assert result.error.kind is ErrorKind.LOAD
    assert "1 s" in result.error.message
    assert other.output == b"good"
    assert time.monotonic() - started < 30, "it would take longer"


SURE_OF_ITS_CPU = """
import time
from piecework.worker_agent.guests.child import main
from piecework.worker_agent.runtimes.compiling.refusals import Refusal
Refusal.__init__.__kwdefaults__["process_time"] = time.monotonic
main()
"""
"""A guest process that takes all time for its own: code is not blamed for a compiler that others left no CPU."""


def test_compile_bomb_is_known_to_those_who_waited_and_those_who_come_later(make_owner, monkeypatch):
    monkeypatch.setattr(guest_process, "_PROGRAM", (sys.executable, "-P", "-c", SURE_OF_ITS_CPU))
    owner = make_owner(slots=2, load_s=2.0)
    code = make_compile_bomb(40_000)
    bombs = [owner.make(code) for _ in range(2)]
    owner.submit(*bombs)
    results = owner.wait_for(*bombs)
    assert {result.error.kind for result in results} == {ErrorKind.LOAD}
    # One process compiled, and is gone; the other had waited, and is there.
    assert sum("knows that" in result.error.message for result in results) == 1
    owner.executor.stop(5)
    again = make_owner(slots=1, load_s=2.0)
    again.wait_until(lambda: again.executor.pids)
    before = again.executor.pids
    (late,) = again.wait_for(again.submit_one(code, b""))
    assert "not compiled within 2 s (this node knows that" in late.error.message
    assert again.executor.pids == before


def test_cancelled_job_is_no_refusal_of_its_code(make_owner):
    owner = make_owner(slots=1)
    bomb = owner.make(make_compile_bomb(3_000))
    owner.submit(bomb)
    owner.wait_until(lambda: list((owner.folder / "compiled").rglob("*.refused")))
    owner.executor.cancel(bomb.job, bomb.lease)
    assert owner.wait_for(bomb)[0].cancelled
    assert owner.wait_for(owner.submit_one(make_compile_bomb(3_000), b""))[0].error is None


def test_processes_compile_a_module_once_between_them(make_owner):
    owner = make_owner(slots=2)
    code = make_compile_bomb(300)
    tasks = [owner.make(code) for _ in range(2)]
    owner.submit(*tasks)
    assert [result.error for result in owner.wait_for(*tasks)] == [None, None]
    assert len(list((owner.folder / "compiled").rglob("*.cwasm"))) == 1


def test_compiled_file_that_was_damaged_is_compiled_again(make_owner):
    owner = make_owner(slots=1)
    (first,) = owner.wait_for(owner.submit_one("echo", b"one"))
    (path,) = (owner.folder / "compiled").rglob("*.cwasm")
    owner.executor.stop(5)
    path.write_bytes(path.read_bytes()[:-100] + b"x" * 100)
    again = make_owner(slots=1)
    (second,) = again.wait_for(again.submit_one("echo", b"two"))
    assert (first.output, second.output) == (b"one", b"two")


AGENT = """
import sys
from pathlib import Path
from piecework.worker_agent.guests.executor import Executor
folder = Path(sys.argv[1])
executor = Executor(slots=2, scratch=folder / "s", compiled=folder / "c", on_done=print)
executor.start()
while len(executor.pids) < 2:
    pass
print(*executor.pids, flush=True)
sys.stdin.read()
"""


def test_no_guest_process_outlives_an_agent_that_was_killed(tmp_path):
    command = [sys.executable, "-c", AGENT, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as agent:
        pids = [int(pid) for pid in agent.stdout.readline().split()]
        agent.kill()
    pause = threading.Event()
    end = time.monotonic() + WAIT_S
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < end
        pause.wait(0.01)
    assert len(pids) == 2


def is_alive(pid):
    """Tell whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
