"""Which modules the runtime ``wasi`` takes, and what odd ones get."""

import pytest

from piecework.worker_agent.runtimes.wasi.errno import Errno


def test_start_function_may_call_before_the_instance_is_there(run, build_text):
    source = """
    (module
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "\\10\\00\\00\\00\\02\\00\\00\\00")
      (data (i32.const 16) "hi")
      (func $greet (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
      (start $greet)
      (func (export "_start")))
    """
    assert run(build_text(source)).output == b"hi"


def test_module_without_memory_gets_faults(run, build_text):
    source = """
    (module
      (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
      (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (func (export "_start") (drop (call $yield)) (call $exit (call $random (i32.const 0) (i32.const 1)))))
    """
    done = run(build_text(source))
    assert done.error.message == f"exit code {Errno.FAULT}"
    assert done.usage.memory_bytes == 0


def test_exit_code_0_is_success(run, build_text):
    source = """
    (module
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (func (export "_start") (call $exit (i32.const 0)) unreachable))
    """
    assert run(build_text(source)).error is None


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ('(module (func (export "_start") (param i32)))', "must be a function () -> nothing"),
        ('(module (memory (export "_start") 1))', "as a memory"),
        ('(module (import "wasi_snapshot_preview1" "fd_dance" (func)) (func (export "_start")))', "'fd_dance'"),
        ('(module (import "env" "memory" (memory 1)) (func (export "_start")))', "'memory'"),
        (
            '(module (import "wasi_snapshot_preview1" "fd_close" (func)) (func (export "_start")))',
            "cannot be linked",
        ),
    ],
)
def test_module_that_is_no_command_is_refused(run, build_text, source, hint):
    done = run(build_text(source))
    assert done.error.kind == "load"
    assert hint in done.error.message
