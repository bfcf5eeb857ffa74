"""What modules must have for each runtime, seen from their bytes, and as an agent sees them."""

from mmap import ACCESS_READ, mmap
from pathlib import Path

import pytest
import wasmtime
from hypothesis import given, strategies as st
from mutations import encode_number, join_sections

from piecework.modules import ModuleError, ModuleFacts, check_code, inspect_component, inspect_module
from piecework.modules.capsule import find_generation
from piecework.worker_agent.runtimes.compiling.toolchain import read_component_facts

SAMPLES = Path(__file__).parents[3] / "samples"
PARTS = '(memory (export "memory") 1) (func (export "malloc") (param i32) (result i32) unreachable)'
HANDLE = '(func (export "callHandle") (param i32 i32) (result i64) unreachable)'
INVOKE = '(func (export "__invoke") (param i32) (result i32) unreachable)'
MEMORY = '(memory (export "memory") 1)'


def build(text):
    return bytes(wasmtime.wat2wasm(f"(module {text})"))


def show(kind):
    """Return what wasmtime says of a type, as ``ModuleFacts`` has it."""
    if isinstance(kind, wasmtime.FuncType):
        letters = {"i32": "i", "i64": "I", "f32": "f", "f64": "F"}
        return ">".join("".join(letters[str(value)] for value in side) for side in (kind.params, kind.results))
    return type(kind).__name__.removesuffix("Type").lower()


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.wasm")), ids=lambda path: path.stem)
def test_bytes_and_compiled_module_show_the_same(path):
    with wasmtime.Module(wasmtime.Engine(), path.read_bytes()) as module:
        imports = {(item.module, item.name): show(item.type) for item in module.imports}
        exports = {item.name: show(item.type) for item in module.exports}
    assert inspect_module(path.read_bytes()) == ModuleFacts(imports, exports)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_generations_of_capsule_are_told_apart(number):
    code = (SAMPLES / f"capsule_g{number}.wasm").read_bytes()
    check_code("capsule", code)
    assert find_generation(inspect_module(code)) == number


def test_types_of_all_kinds_are_read():
    code = build(
        """(import "a" "t" (table 1 10 externref)) (import "a" "m" (memory 1 2))
        (import "a" "g" (global (mut i64)))
        (import "a" "f" (func (param f32 f64 v128 funcref) (result i32 i64)))
        (func (export "f") (param externref)) (global (export "g") i32 (i32.const 1)) (export "t" (table 0))"""
    )
    facts = inspect_module(code)
    assert [facts.imports["a", name] for name in "tmgf"] == ["table", "memory", "global", "fFvr>iI"]
    assert facts.exports == {"f": "r>", "g": "global", "t": "table"}


@pytest.mark.parametrize(
    ("runtime", "text", "hint"),
    [
        ("capsule", PARTS, "does not export a function named 'callHandle'"),
        ("capsule", f'{PARTS} (func (export "callHandleHttp"))', "as a function () -> nothing; it must take 4"),
        ("capsule", HANDLE, "does not export a memory named 'memory'"),
        ("capsule", f"{HANDLE} {MEMORY}", "'malloc'"),
        ("capsule", f'{HANDLE} {MEMORY} (func (export "malloc"))', "must be a function (i32) -> i32"),
        (
            "capsule",
            f'(import "env" "hostPing" (func (param i32 i32 i32 i32))) {HANDLE} {PARTS}',
            "'allocateBuffer'",
        ),
        ("capsule", f'(import "env" "hostPing" (func (param i32))) {HANDLE} {PARTS}', "no version of Capsule has"),
        ("capsule", f'(import "env" "hostFly" (func)) {HANDLE} {PARTS}', "'hostFly' from 'env'"),
        ("capsule", f'{PARTS} (func (export "callHandle"))', "'callHandle' as a function () -> nothing"),
        ("funless", MEMORY, "'__invoke'"),
        ("funless", INVOKE, "'memory'"),
        ("funless", f'(func (export "__invoke")) {MEMORY}', "must be a function (i32) -> i32"),
        (
            "funless",
            f'(import "fl_imps" "__console_log" (func)) {INVOKE} {MEMORY}',
            "but it is a function (i32, i32)",
        ),
        ("funless", f'(import "fl_imps" "__fly" (func)) {INVOKE} {MEMORY}', "'__fly' from 'fl_imps'"),
        ("funless", '(func (export "_start") (param i32))', "'_start'"),
        ("wasi", f"{INVOKE} {MEMORY}", "'_start'"),
    ],
)
def test_what_is_missing_or_wrong_is_named(runtime, text, hint):
    with pytest.raises(ModuleError) as caught:
        check_code(runtime, build(text))
    assert hint in str(caught.value)


def test_of_other_runtimes_nothing_is_known():
    check_code("cobol", b"IDENTIFICATION DIVISION.")


def is_read_or_refused(inspect, code):
    """Tell whether a reader gives facts of code, or a reason; what else it raises goes on."""
    try:
        return inspect(code) is not None
    except ModuleError as error:
        return bool(str(error))


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(data):
    for code in (data, b"\0asm\x01\0\0\0" + data):
        assert is_read_or_refused(inspect_module, code)


COMPONENT = """
  (type (export "own") u32)
  (import "wasi:cli/environment@0.2.0" (instance (export "initial-cwd" (func (result (option string))))))
  (import "plain" (func (param "a" u8)))
  (import "kind" (type $kind (sub resource)))
  (import "same" (type (eq $kind)))
  (import "code" (core module))
  (core module $main (func (export "run") (result i32) (i32.const 0)))
  (core instance $main (instantiate $main))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $cli))
  (export "again" (func $run) (func (result (result))))
  (export "main" (core module $main))
"""


def build_component(text):
    return bytes(wasmtime.wat2wasm(f"(component {text})"))


def test_bytes_and_compiled_component_show_the_same_names():
    code, engine = build_component(COMPONENT), wasmtime.Engine()
    seen = inspect_component(code)
    assert list(seen.imports.values()) == ["instance", "function", "type", "type", "core"]
    assert seen.exports == {
        "own": "type", "wasi:cli/run@0.2.0": "instance", "again": "function", "main": "core"
    }  # fmt: skip
    with wasmtime.component.Component(engine, code) as component:
        facts = read_component_facts(component, engine)
    assert list(facts.imports) == list(seen.imports)
    assert set(facts.exports) == set(seen.exports)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (COMPONENT, "imports 'code', 'kind', 'plain', 'same'"),
        ("", "does not export 'wasi:cli/run@0.2.0'"),
        ('(instance $a) (export "wasi:http/types@0.2.0" (instance $a))', "an HTTP handler"),
        ('(import "wasi:http/types@0.3.0" (instance))', "'wasi:http/types@0.3.0', which is WASI 0.3"),
    ],
)
def test_component_that_can_never_run_is_refused_with_the_reason(text, hint):
    with pytest.raises(ModuleError, match=hint):
        check_code("component", build_component(text))


def test_code_of_the_other_kind_is_refused_with_the_runtime_that_it_needs():
    with pytest.raises(ModuleError, match="core module, not a wasm component"):
        check_code("component", build(""))
    for runtime in ("wasi", "capsule", "funless"):
        with pytest.raises(ModuleError, match="it needs the runtime 'component'"):
            check_code(runtime, build_component(COMPONENT))


def test_component_may_have_all_its_imports_in_one_section():
    imports = [b"\0\1a\x03\x01", b"\0\1b\x03\0\0", b"\0\1c\0\x11\0", b"\1\1d\x05\0"]
    section = bytes([len(imports)]) + b"".join(imports)
    code = b"\0asm\x0d\0\x01\0" + bytes([10, len(section)]) + section
    assert inspect_component(code).imports == {
        ("a", ""): "type", ("b", ""): "type", ("c", ""): "core", ("d", ""): "instance"
    }  # fmt: skip


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_damaged_component_is_never_more_than_an_error(place, byte):
    code = bytearray(build_component(COMPONENT))
    code[8 + place % (len(code) - 8)] = byte
    assert is_read_or_refused(inspect_component, bytes(code))


def join(*sections):
    return join_sections(list(sections), b"\0asm\x01\0\0\0")


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (join((7, encode_number(50_001))), "50001 entries in one section, more than 50000"),
        (join((2, encode_number(50_001))), "50001 entries in one section, more than 50000"),
        (join((3, encode_number(1_000_001))), "1000001 entries in one section, more than 1000000"),
        (join((1, b"\0"), (0, b""), (1, b"\0")), "section 1 twice"),
        (join((5, b"\2\0\0\0\0")), "more than one memory"),
        (join(*[(0, b"")] * 10_001), "more than 10000 sections"),
        (join((3, b"\0" * (8 * 1024 * 1024 + 1))), "section 3 of the module has 8388609 bytes"),
    ],
)
def test_what_would_take_long_to_read_is_not_read(code, hint):
    with pytest.raises(ModuleError, match=hint):
        inspect_module(code)


def test_component_lists_no_more_names_in_many_sections_than_in_one():
    name = b"\0\1a\1\0\0"
    sections = [(11, encode_number(30_000) + name * 30_000)] * 2
    with pytest.raises(ModuleError, match="30000 entries in one section, more than 20000"):
        inspect_component(join_sections(sections, b"\0asm\x0d\0\1\0"))


def test_message_about_a_name_without_end_is_short():
    with pytest.raises(ModuleError) as caught:
        check_code("wasi", build(f'(import "env" "{"x" * 90_000}" (func))'))
    assert len(str(caught.value)) < 1100


def test_file_is_read_as_bytes_are(tmp_path):
    path = tmp_path / "code"
    path.write_bytes((SAMPLES / "capsule_g3.wasm").read_bytes())
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as view:
        check_code("default", view)
        assert inspect_module(view) == inspect_module(path.read_bytes())
        with pytest.raises(ModuleError, match="runtime wasi does not have"):
            check_code("wasi", view)
