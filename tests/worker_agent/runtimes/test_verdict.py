"""What a guest's end is called, beyond what every runtime is tested for."""

import pytest

from piecework.protocol.codes import ErrorKind

MIB = 1024 * 1024


def command(body, *, memory="1", rest=""):
    return f'(module (memory (export "memory") {memory}) {rest} (func $main (export "_start") {body}))'


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("(call $main)", "call stack exhausted"),
        ("(drop (i32.load (i32.const -16)))", "out of bounds memory access"),
        ("(drop (i32.div_s (i32.const 1) (i32.const 0)))", "integer divide by zero"),
    ],
)
def test_trap_names_its_cause(run, build_text, body, message):
    done = run(build_text(command(body)))
    assert (done.error.kind, done.error.message) == (ErrorKind.TRAP, message)
    assert done.error.trace.startswith("main")


def test_exception_that_nobody_catches_is_a_trap(run, build_text):
    done = run(build_text(command("(throw $oops)", rest="(tag $oops)")))
    assert done.error.kind is ErrorKind.TRAP
    assert "exception" in done.error.message


def test_module_that_begins_above_its_memory_limit(run, build_text):
    code = build_text(command("", memory="100"))
    done = run(code, memory_bytes=MIB)
    assert done.error.kind is ErrorKind.LOAD, "another attempt would end the same"
    assert "it needs 7 MB, limit 1 MB" in done.error.message
    assert "it needs 6553600 bytes, limit 70000 bytes" in run(code, memory_bytes=70_000).error.message
    assert run(code, memory_bytes=7 * MIB).error is None


@pytest.mark.parametrize(
    "rest",
    [
        '(data (i32.const 70000) "x")',
        "(table 1 funcref) (elem (i32.const 5) $main)",
        "(type $row (array (mut i64))) (global (ref $row) (array.new_default $row (i32.const 99999999)))",
    ],
)
def test_module_that_cannot_begin_is_not_tried_again(run, build_text, rest):
    done = run(build_text(command("", rest=rest)))
    assert done.error.kind is ErrorKind.LOAD
    assert "out of" in done.error.message


def test_start_function_that_traps_is_a_trap(run, build_text):
    rest = "(func $first (drop (i32.load (i32.const -4)))) (start $first)"
    assert run(build_text(command("", rest=rest))).error.kind is ErrorKind.TRAP


def test_garbage_collected_memory_counts_too(run, build_text):
    rest = """
    (type $block (array (mut i64)))
    (type $list (struct (field (ref null $list)) (field (ref $block))))
    (global $all (mut (ref null $list)) (ref.null $list))
    """
    body = """
    (loop $more
      (global.set $all (struct.new $list (global.get $all) (array.new_default $block (i32.const 10000))))
      (br $more))
    """
    done = run(build_text(command(body, rest=rest)), memory_bytes=4 * MIB)
    assert done.error.kind is ErrorKind.MEMORY


def test_tables_are_limited(run, build_text):
    done = run(build_text(command("", rest="(table 1000000 funcref)")))
    assert done.error.kind is ErrorKind.LOAD
    assert "table" in done.error.message


def test_shared_memory_is_refused(run, build_text):
    done = run(build_text(command("", memory="1 1 shared")))
    assert done.error.kind is ErrorKind.LOAD
    assert "a memory that threads share" in done.error.message


def test_table_growth_is_denied(run, build_text):
    body = """
    (if (i32.ne (table.grow $t (ref.null func) (i32.const 1000000)) (i32.const -1)) (then unreachable))
    """
    assert run(build_text(command(body, rest="(table $t 1 funcref)"))).error is None


def test_denied_growth_is_no_error_for_a_guest_that_copes(run, build_text):
    body = "(if (i32.ne (memory.grow (i32.const 1000)) (i32.const -1)) (then unreachable))"
    assert run(build_text(command(body)), memory_bytes=MIB).error is None


LOGGING = """
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\10\\00\\00\\00\\40\\00\\00\\00")
  (data (i32.const 16) "{words}")
  (func (export "_start")
    (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
    unreachable))
"""


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("memory allocation of 268435456 bytes failed", ErrorKind.MEMORY),
        ("runtime: out of memory: cannot allocate", ErrorKind.MEMORY),
        ("terminating due to uncaught exception: std::bad_alloc", ErrorKind.MEMORY),
        ("index out of bounds", ErrorKind.TRAP),
    ],
)
def test_allocator_that_says_so_is_believed(run, build_text, words, kind):
    assert run(build_text(LOGGING.format(words=words))).error.kind is kind


@pytest.mark.parametrize(("pages", "kind"), [(15, ErrorKind.TRAP), (100, ErrorKind.TRAP), (120, ErrorKind.MEMORY)])
def test_trap_is_blamed_on_memory_only_close_to_the_limit(run, build_text, pages, kind):
    body = f"(drop (memory.grow (i32.const {pages}))) unreachable"
    assert run(build_text(command(body)), memory_bytes=8 * MIB).error.kind is kind


def test_memory_that_never_grew_is_not_to_blame(run, build_text):
    assert run(build_text(command("unreachable", memory="128")), memory_bytes=8 * MIB).error.kind is ErrorKind.TRAP


def test_disk_that_fails_is_blamed_on_the_worker(run, build_guest, tmp_path):
    (tmp_path / "99.out").write_bytes(b"in the way")
    done = run(build_guest("wasi/flood_output"), key=99)
    assert done.error.kind is ErrorKind.WORKER
    assert "File exists" in done.error.message


COUNTED = {
    "end": "",
    "unreachable": "unreachable",
    "exit code": "(call $exit (i32.const 3))",
}
UNCOUNTED = {
    "division by zero": "(drop (i32.div_u (i32.const 1) (global.get $zero)))",
    "overflow": "(drop (i32.div_s (i32.const 0x80000000) (i32.sub (global.get $zero) (i32.const 1))))",
    "not a number": "(drop (i32.trunc_f32_s (f32.div (f32.const 0) (f32.convert_i32_u (global.get $zero)))))",
    "out of bounds": "(drop (i32.load (i32.sub (global.get $zero) (i32.const 8))))",
    "filled out of bounds": "(memory.fill (i32.const -9) (i32.const 0) (i32.const 100))",
    "table": "(drop (table.get $t (i32.const 77)))",
    "null": "(drop (struct.get $pair 0 (ref.null $pair)))",
    "heap": "(drop (array.new_default $row (i32.const 99999999)))",
    "recursion": "(call $deep)",
}


def count_fuel(run, build_text, body, turns, call="", **bounds):
    """Return what is said about the fuel of a guest that counts to ``turns`` before its end, and its error."""
    head = """(type $pair (struct (field i32))) (type $row (array (mut i64)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32))) (memory (export "memory") 1)
      (table $t 1 funcref) (global $zero (mut i32) (i32.const 0)) (func $nothing)
      (func $deep (call $deep) (call $nothing))"""
    loop = f"""(loop $more (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $n) (i32.const {turns}))))"""
    text = f'(module {head} (func (export "_start") (local $n i32) {call} {loop} {body}))'
    done = run(build_text(text), **{"fuel": 10**9, **bounds})
    return done.usage.fuel, done.error


@pytest.mark.parametrize("end", COUNTED)
def test_fuel_is_told_when_the_guest_ends_by_itself(run, build_text, end):
    few, _ = count_fuel(run, build_text, COUNTED[end], 1000)
    more, error = count_fuel(run, build_text, COUNTED[end], 3000)
    assert (error is None) == (end == "end")
    assert more - few == 2000 * 8


@pytest.mark.parametrize("call", ["", "(call $nothing)"], ids=["", "after a call"])
@pytest.mark.parametrize("end", UNCOUNTED)
def test_fuel_is_left_out_when_the_end_loses_count(run, build_text, end, call):
    fuel, error = count_fuel(run, build_text, UNCOUNTED[end], 1000, call)
    assert error is not None
    assert fuel is None


@pytest.mark.slow
def test_fuel_is_left_out_when_time_is_over(run, build_text):
    fuel, error = count_fuel(run, build_text, "(loop $on (br $on))", 1000, fuel=2**62, timeout_s=0.1)
    assert error.kind is ErrorKind.TIMEOUT
    assert fuel is None


def test_fuel_is_left_out_when_nothing_ran(run, build_text):
    fuel, error = count_fuel(run, build_text, "", 1, memory_bytes=1)
    assert error.kind is ErrorKind.LOAD
    assert fuel is None
