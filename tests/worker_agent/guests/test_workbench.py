"""What the workbench makes of tasks that go wrong outside of the guest, and of stops."""

from pathlib import Path

import msgspec
import pytest

from piecework.protocol.codes import ErrorKind
from piecework.worker_agent.guests.frames import Loaded, Loading
from piecework.worker_agent.runtimes.stopping import StopReason, StopSignal
from piecework.worker_agent.runtimes.streams import OutputSpool, ScratchError


@pytest.fixture
def perform(workbench):
    return lambda task, stop=None: workbench.do(task, stop).result


def change_task(assign, **fields):
    return msgspec.structs.replace(assign, task=msgspec.structs.replace(assign.task, **fields))


def test_code_that_is_not_there_is_the_workers_fault(perform, make_assign, build_text):
    task = change_task(make_assign(b"never stored"), codex="/nowhere", checksum="0" * 64)
    done = perform(task)
    assert done.error.kind is ErrorKind.WORKER
    assert "No such file" in done.error.message


def test_code_that_was_damaged_on_disk_is_the_workers_fault(perform, make_assign, build_text):
    code = build_text('(module (func (export "_start")) (func (export "damaged")))')
    task = change_task(make_assign(code), checksum="1" * 64)
    done = perform(task)
    assert done.error.kind is ErrorKind.WORKER
    assert "damaged" in done.error.message


def test_output_that_cannot_be_finished_is_the_workers_fault(perform, make_assign, build_guest, monkeypatch):
    def fail(_spool, _at_most):
        raise ScratchError("the output could not be stored: No space left on device")

    monkeypatch.setattr(OutputSpool, "finish", fail)
    done = perform(make_assign(build_guest("wasi/echo"), given=b"x"))
    assert (done.error.kind, done.output) == (ErrorKind.WORKER, b"")


def test_loading_is_announced_once_per_process(workbench, perform, make_assign, build_text):
    task = make_assign(build_text('(module (func (export "_start")) (func (export "announced")))'))
    workbench.reports.clear()
    perform(task)
    perform(task)
    assert workbench.reports == [Loading(task.key), Loaded(task.key)]


def test_task_cancelled_before_it_began_does_not_run(perform, make_assign, build_guest):
    stop = StopSignal()
    stop.stop(StopReason.CANCELLED)
    done = perform(make_assign(build_guest("wasi/loop")), stop)
    assert done.cancelled
    assert done.error.message == "it was cancelled"


def test_task_that_ended_before_it_heard_of_the_stop_is_done(perform, make_assign, build_text, monkeypatch):
    stop = StopSignal()
    finish = OutputSpool.finish

    def stop_late(spool, at_most):
        stop.stop(StopReason.CANCELLED)
        return finish(spool, at_most)

    monkeypatch.setattr(OutputSpool, "finish", stop_late)
    done = perform(make_assign(build_text('(module (func (export "_start")))')), stop)
    assert (done.error, done.cancelled) == (None, False)


def test_arguments_and_environment_reach_the_guest(perform, make_assign, build_text):
    source = """
    (module
      (import "wasi_snapshot_preview1" "args_sizes_get" (func $args (param i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env (param i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1)
      (func (export "_start")
        (drop (call $args (i32.const 0) (i32.const 4)))
        (drop (call $env (i32.const 8) (i32.const 12)))
        (call $exit (i32.add (i32.mul (i32.load (i32.const 0)) (i32.const 10)) (i32.load (i32.const 8))))))
    """
    done = perform(make_assign(build_text(source), args=("a", "b"), env={"K": "v"}))
    assert done.error.message == "exit code 31"


def write_then(build_text, size, end):
    """Return a guest that writes so many bytes, in one call, and then does something."""
    return build_text(
        '(module (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))'
        ' (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'
        f' (memory (export "memory") 64) (data (i32.const 0) "\\10\\00\\00\\00") (func (export "_start")'
        f" (i32.store (i32.const 4) (i32.const {size}))"
        f" (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) {end}))"
    )


@pytest.mark.parametrize("size", [5, 3_000_000])
def test_guest_that_ends_itself_keeps_all_output(perform, make_assign, build_text, size):
    done = perform(make_assign(write_then(build_text, size, "(call $exit (i32.const 20))")))
    output = done.output if isinstance(done.output, bytes) else Path(done.output.path).read_bytes()
    assert (len(output), done.exit_code, done.error.kind) == (size, 20, ErrorKind.GUEST)
    assert done.error.message == "exit code 20"


@pytest.mark.parametrize(("size", "kept"), [(5, 5), (3_000_000, 1024 * 1024)])
def test_guest_that_traps_keeps_its_first_output(perform, make_assign, build_text, size, kept):
    done = perform(make_assign(write_then(build_text, size, "unreachable")))
    output = done.output if isinstance(done.output, bytes) else Path(done.output.path).read_bytes()
    assert (len(output), done.exit_code, done.error.kind) == (kept, 0, ErrorKind.TRAP)


@pytest.mark.slow
def test_guest_that_runs_out_of_time_keeps_its_output(perform, make_assign, build_text):
    done = perform(make_assign(write_then(build_text, 7, "(loop (br 0))"), timeout_s=0.1))
    assert (len(done.output), done.error.kind) == (7, ErrorKind.TIMEOUT)


@pytest.mark.parametrize(("codes", "ends_well"), [((), False), ((10,), False), ((10, 20), True)])
def test_exit_codes_may_mean_success(perform, make_assign, build_text, codes, ends_well):
    task = make_assign(write_then(build_text, 5, "(call $exit (i32.const 20))"))
    done = perform(change_task(task, ok_codes=codes))
    assert (done.error is None, done.exit_code, len(done.output)) == (ends_well, 20, 5)


def test_code_that_cannot_run_has_no_output(perform, make_assign):
    assert perform(make_assign(b"\0asm")).output == b""
