"""Modules that are made to cost the host more than limits allow. Those that cost a process are in integration."""

import pytest

from piecework.protocol.codes import ErrorKind

MIB = 1024 * 1024
GARBAGE = "(type $bytes (array (mut i8)))"


def command(body, rest="", memory='(memory (export "memory") 1)'):
    return f'(module {rest} {memory} (func (export "_start") {body}))'


def repeat(text, count):
    return " ".join(text.format(number) for number in range(count))


@pytest.mark.slow
@pytest.mark.parametrize(
    "rest",
    [
        '(func $f) (export "e0" (func $f))' + repeat('(export "x{}" (func $f))', 50_000),
        repeat('(import "m" "f{}" (func))', 50_001),
    ],
    ids=["exports", "imports"],
)
def test_module_that_lists_names_without_end_is_refused(run, build_text, rest):
    done = run(build_text(command("", rest)))
    assert done.error.kind is ErrorKind.LOAD
    assert "entries in one section, more than 50000" in done.error.message


def test_memory_of_a_gigabyte_is_refused_before_there_is_any(run, build_text):
    done = run(build_text(command("", memory="(memory 16384)")), memory_bytes=16 * MIB)
    assert (done.error.kind, done.usage.memory_bytes) == (ErrorKind.LOAD, 0)


@pytest.mark.parametrize("size", ["i64 0x1000000000000", "1 1 shared"])
def test_memory_that_no_limit_could_hold_is_refused(run, build_text, size):
    assert run(build_text(command("", memory=f"(memory {size})"))).error.kind is ErrorKind.LOAD


def test_memory_of_64_bits_has_the_same_limit(run, build_text):
    body = "(if (i64.ne (memory.grow (i64.const 16384)) (i64.const -1)) (then unreachable))"
    assert run(build_text(command(body, memory="(memory i64 1)")), memory_bytes=16 * MIB).error is None


def test_data_that_would_lie_a_gigabyte_away_is_refused(run, build_text):
    done = run(build_text(command("", '(data (i32.const 0x3fffffff) "x")')))
    assert done.error.kind is ErrorKind.LOAD
    assert "out of bounds memory access" in done.error.message


@pytest.mark.slow
def test_many_segments_of_data_are_only_as_large_as_the_module(run, build_text):
    assert run(build_text(command("", repeat('(data (i32.const {}) "x")', 50_000)))).error is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "rest"),
    [
        ("(loop (drop (array.new $bytes (i32.const 1) (i32.const 1000000))) (br 0))", GARBAGE),
        ("(call $f)", "(func $f (return_call $f))"),
        (
            """(loop (block (result i32) (try_table (catch $t 0) (throw $t (i32.const 1))) (unreachable))
            (drop) (br 0))""",
            "(tag $t (param i32))",
        ),
        ("(loop (drop (table.grow $t (ref.null func) (i32.const 1000000000))) (br 0))", "(table $t 1 funcref)"),
        (
            """(loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536))
            (memory.copy (i32.const 0) (i32.const 1) (i32.const 65535)) (br 0))""",
            "",
        ),
    ],
    ids=["garbage", "tail calls", "exceptions", "growing tables", "bulk memory"],
)
def test_loop_of_any_kind_is_stopped_at_its_limit(run, build_text, body, rest):
    done = run(build_text(command(body, rest)), timeout_s=0.05, memory_bytes=16 * MIB)
    assert done.error.kind is ErrorKind.TIMEOUT
    assert done.usage.wall_s < 5


def test_array_larger_than_any_memory_is_a_trap(run, build_text):
    done = run(build_text(command("(drop (array.new $bytes (i32.const 1) (i32.const -1)))", GARBAGE)))
    assert done.error.kind is ErrorKind.TRAP


def test_component_with_memory_that_others_share_is_refused(run, build_text):
    core = "(core module (memory 1 65536 shared))"
    done = run(build_text(f"(component {core})"), runtime="component")
    assert done.error.kind is ErrorKind.LOAD
    assert "shared memories" in done.error.message


ODD_EXPORTS = """
  (type $struct (struct (field i32)))
  (func (export "{}") (result v128) (v128.const i64x2 0 0))
  (func (export "vector") (param v128))
  (func (export "struct") (result (ref null $struct)) (ref.null $struct))
  (func (export "references") (param externref exnref (ref null any)))
  (global (export "global") v128 (v128.const i64x2 0 0))
  (table (export "table") 1 anyref)
  (tag (export "tag") (param v128))
"""


def test_exports_of_types_that_wasmtime_cannot_name_do_no_harm(run, build_text):
    assert run(build_text(command("", ODD_EXPORTS.format("odd")))).error is None
    wanted = build_text(f"(module {ODD_EXPORTS.format('_start')})")
    assert "'_start' as a function () -> v128" in run(wanted).error.message


def test_hook_of_a_type_that_no_hook_has_is_not_called(run, build_text):
    parts = """(memory (export "memory") 1) (data (i32.const 8) "Swell")
      (func (export "malloc") (param i32) (result i32) (i32.const 512))
      (func (export "callHandle") (param i32 i32) (result i64) (i64.const 0x800000005))"""
    code = build_text(f"(module {parts} {ODD_EXPORTS.format('OnLoad')})")
    assert run(code, runtime="capsule").output == b"well"
