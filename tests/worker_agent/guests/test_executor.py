"""The executor with real guest processes: what its owner sees. One pair of processes serves the whole file."""

import itertools
import os
import threading
from pathlib import Path

import pytest
from loading import loaded_by

from piecework.protocol.codes import ErrorKind
from piecework.worker_agent.errors import ExecutorStoppedError
from piecework.worker_agent.guests.executor import Executor

pytestmark = pytest.mark.integration

WAIT_S = 20


class Owner:
    """Owns an executor and remembers what it reported."""

    def __init__(self, folder, *, slots=2, **options):
        self._changed = threading.Condition()
        self._results = {}
        self.reports = 0
        self.executor = Executor(
            slots=slots,
            scratch=folder / "scratch",
            compiled=folder / "compiled",
            on_done=self._on_done,
            **options,
        )

    def _on_done(self, ended):
        with self._changed:
            self._results.update({task.job: result for task, result in ended})
            self.reports += len(ended)
            self._changed.notify_all()

    def wait_for(self, *tasks):
        with self._changed:
            assert self._changed.wait_for(lambda: all(task.job in self._results for task in tasks), WAIT_S)
            return [self._results[task.job] for task in tasks]

    def run(self, *tasks):
        self.executor.submit(*tasks)
        return self.wait_for(*tasks)

    def wait_until(self, condition):
        """Wait until a condition of the executor holds, which nothing announces."""
        pause = threading.Event()
        for _ in range(WAIT_S * 100):
            if condition(self.executor):
                return
            pause.wait(0.01)
        pytest.fail("it did not come to that")


@pytest.fixture(scope="module")
def owner(tmp_path_factory):
    owner = Owner(tmp_path_factory.mktemp("executor"))
    owner.executor.start()
    yield owner
    owner.executor.stop(5)


@pytest.fixture
def make_guest(make_task, store_code, build_guest):
    def make(name, **fields):
        path, checksum = store_code(build_guest(f"wasi/{name}"))
        return make_task(codex=path, checksum=checksum, **fields)

    return make


def test_many_tasks_each_get_their_own_result(owner, make_guest):
    tasks = [make_guest("echo", given=b"%d" % number) for number in range(200)]
    results = owner.run(*tasks)
    assert [result.output for result in results] == [b"%d" % number for number in range(200)]
    assert all(result.error is None for result in results)
    assert (owner.executor.busy, owner.executor.waiting) == (0, 0)


def test_large_output_belongs_to_the_owner(owner, make_guest, tmp_path):
    source = tmp_path / "input"
    source.write_bytes(os.urandom(5_000_000))
    (result,) = owner.run(make_guest("echo", given=source))
    assert Path(result.output.path).read_bytes() == source.read_bytes()
    Path(result.output.path).unlink()


def test_running_guest_is_cancelled_and_its_log_kept(owner, make_guest):
    task = make_guest("loop", timeout_s=60)
    owner.executor.submit(task)
    owner.wait_until(lambda executor: executor.busy == 1)
    assert owner.executor.cancel(task.job, task.lease)
    (result,) = owner.wait_for(task)
    assert result.cancelled
    assert result.error.kind is ErrorKind.WORKER
    assert not owner.executor.cancel(task.job, task.lease)


def test_waiting_task_is_cancelled_and_the_running_go_on(owner, make_guest):
    running = [make_guest("sleep", timeout_s=60) for _ in range(2)]
    waiting = make_guest("echo")
    for task in (*running, waiting):
        owner.executor.submit(task)
    assert owner.executor.waiting >= 1
    assert owner.executor.cancel(waiting.job, waiting.lease)
    (result,) = owner.wait_for(waiting)
    assert result.cancelled
    for task in running:
        assert owner.executor.cancel(task.job, task.lease)
    assert all(result.cancelled for result in owner.wait_for(*running))


def test_nothing_is_cancelled_under_another_lease(owner):
    assert not owner.executor.cancel(1, "of someone else")


def test_tasks_that_did_not_start_are_taken_back(owner, make_guest):
    # Quick ones first: then the processes are given tasks ahead of their turn.
    owner.run(*[make_guest("echo") for _ in range(10)])
    tasks = [make_guest("sleep", timeout_s=60) for _ in range(6)]
    for task in tasks:
        owner.executor.submit(task)
    # The second process may still be starting.
    owner.wait_until(lambda executor: executor.busy == 2)
    taken = owner.executor.take_back()
    assert len(taken) == 4
    assert (owner.executor.busy, owner.executor.waiting) == (2, 0)
    started = [task for task in tasks if task not in taken]
    for task in started:
        owner.executor.cancel(task.job, task.lease)
    owner.wait_for(*started)
    assert owner.run(make_guest("echo", given=b"on"))[0].output == b"on"


def test_log_of_a_running_guest_can_be_read(owner, make_task, store_code, build_text):
    source = """
    (module
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "\\10\\00\\00\\00\\06\\00\\00\\00")
      (data (i32.const 16) "hello\\n")
      (func (export "_start")
        (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
        (loop $again (br $again))))
    """
    path, checksum = store_code(build_text(source))
    task = make_task(codex=path, checksum=checksum, timeout_s=60)
    owner.executor.submit(task)
    updates = []
    owner.wait_until(lambda executor: updates.extend(executor.read_logs()) or updates)
    assert [(update.job, update.lease, update.log, update.offset) for update in updates] == [
        (task.job, task.lease, b"hello\n", 0)
    ]
    owner.executor.cancel(task.job, task.lease)
    assert owner.wait_for(task)[0].log == b"hello\n"


def test_result_that_cannot_be_reported_costs_no_other(owner, make_guest, monkeypatch):
    reported = owner.executor._on_done
    failures = itertools.count()

    def fail_once(ended):
        if next(failures) == 0:
            raise RuntimeError("a bug")
        reported(ended)

    monkeypatch.setattr(owner.executor, "_on_done", fail_once)
    owner.executor.submit(make_guest("echo"))
    owner.wait_until(lambda executor: executor.busy == 0)
    assert owner.run(make_guest("echo", given=b"next"))[0].output == b"next"


def test_stop_waits_for_running_tasks_and_leaves_no_process(tmp_path, make_guest):
    owner = Owner(tmp_path, slots=1)
    owner.executor.start()
    tasks = [make_guest("sleep", timeout_s=0.3), make_guest("echo")]
    for task in tasks:
        owner.executor.submit(task)
    owner.wait_until(lambda executor: executor.busy == 1)
    pids = owner.executor.pids
    owner.executor.stop(10)
    finished, unstarted = owner.wait_for(*tasks)
    assert finished.error.kind is ErrorKind.TIMEOUT
    assert unstarted.error.kind is ErrorKind.WORKER
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    owner.executor.stop(10)
    assert owner.reports == 2
    with pytest.raises(ExecutorStoppedError):
        owner.executor.submit(tasks[0])
    assert (owner.executor.take_back(), owner.executor.pids) == ([], [])


def test_stop_ends_what_does_not_end_in_time(tmp_path, make_guest):
    owner = Owner(tmp_path, slots=1)
    owner.executor.start()
    task = make_guest("loop", timeout_s=60)
    owner.executor.submit(task)
    owner.wait_until(lambda executor: executor.busy == 1)
    owner.executor.stop(0.05)
    (result,) = owner.wait_for(task)
    assert result.error.kind is ErrorKind.WORKER
    assert "shut down" in result.error.message


def test_executor_that_never_started_can_be_stopped(tmp_path, make_guest):
    owner = Owner(tmp_path)
    task = make_guest("echo")
    owner.executor.submit(task)
    owner.executor.stop(1)
    assert owner.wait_for(task)[0].error.kind is ErrorKind.WORKER


def test_start_removes_what_an_earlier_run_left(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "old.out").write_bytes(b"x")
    owner = Owner(tmp_path, slots=1)
    owner.executor.start()
    assert not (tmp_path / "scratch" / "old.out").exists()
    owner.executor.stop(1)


def test_agent_that_only_supervises_does_not_load_wasmtime():
    for module in ("piecework.worker_agent.guests.executor", "piecework.worker_agent.runtimes"):
        assert "wasmtime" not in loaded_by(module)
