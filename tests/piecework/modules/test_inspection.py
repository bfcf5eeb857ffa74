"""What is told about code before it runs."""

from pathlib import Path

import pytest
import wasmtime
from guests import guest

from piecework.modules import CHECKS, ModuleError, answers_requests_alone, check_code, inspect_code
from piecework.worker_agent.runtimes import RUNTIMES

SAMPLES = Path(__file__).parents[3] / "samples"


def build(text):
    return bytes(wasmtime.wat2wasm(text))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (b"", "empty"),
        (b"\n<!DOCTYPE html><title>404</title>", "an HTML page"),
        (b"<HTML>", "an HTML page"),
        (b"(module)", "WebAssembly in the text format"),
        (b"#!/usr/bin/env lua\nprint(1)", "a script for /usr/bin/env lua"),
        (b'{"a": 1}', "a text, perhaps JSON"),
        ("print('é')".encode(), "a text, perhaps a script"),
        (b"a" * 4095 + "é".encode(), "a text, perhaps a script"),
        (b"\x7fELF\2\1\1\0" + bytes(8) + b"\2\0", "an ELF program for Linux"),
        (b"\x7fELF\2\1\1\0" + bytes(8) + b"\3\0", "an ELF program for Linux"),
        (b"\x7fELF\2\1\1\xc8" + bytes(8) + b"\1\0", "machine code that wasmtime compiled"),
        (b"\xcf\xfa\xed\xfe", "a Mach-O program for macOS"),
        (b"\xca\xfe\xba\xbe\0\0\0\2", "a Mach-O program for macOS"),
        (b"\xca\xfe\xba\xbe\0\0\0\x41", "a Java class"),
        (b"MZ\x90\0\3", "a program for Windows"),
        (b"MZ = 1", "a text, perhaps a script"),
        (b"PK\x03\x04\x14\0", "a zip archive"),
        (bytes(257) + b"ustar", "a tar archive"),
        (b"\xcb\r\r\n\0\0\0\0", "compiled Python"),
        (b"\x1f\x8b\x08", "a gzip archive"),
        (b"\xff\xfe", "text in UTF-16"),
        (b"text\0", "bytes of no known kind"),
    ],
)
def test_what_is_no_wasm_is_named(code, kind):
    found = inspect_code(code)
    assert found.kind.startswith(kind)
    assert (found.runtimes, found.default, found.pure, found.size) == ([], None, None, len(code))
    with pytest.raises(ModuleError, match="not a wasm binary") as caught:
        check_code("wasi", code)
    assert kind in str(caught.value)


def test_module_that_only_computes_is_pure():
    found = inspect_code(guest("echo"))
    assert (found.kind, found.runtimes, found.default) == ("module", ["funless", "wasi"], "wasi")
    assert (found.pure, found.grants, found.generation) == (True, [], None)
    assert "wasi_snapshot_preview1 fd_read" in found.imports
    assert "_start" in found.exports
    assert found.refusals["component"] == "it is a core module"
    assert "no function of Capsule" in found.refusals["capsule"]


def test_component_is_told():
    found = inspect_code(build("(component)"))
    assert (found.kind, found.runtimes, found.default, found.pure) == ("component", [], None, True)
    assert "does not export 'wasi:cli/run" in found.refusals["component"]


@pytest.mark.parametrize(
    ("name", "generation", "grants"),
    [("capsule_g1", 1, ["http", "redis", "files", "env"]), ("capsule_g4", 4, ["http", "redis", "files", "env"])],
)
def test_function_of_capsule_has_a_generation_and_needs_grants(name, generation, grants):
    found = inspect_code(guest(name))
    assert (found.default, found.generation, found.grants, found.pure) == ("capsule", generation, grants, False)


@pytest.mark.parametrize(
    ("name", "grants"),
    [("funless_fetch", ["http"]), ("copy_file", ["files"]), ("burn_cpu", []), ("sleep_forever", [])],
)
def test_guests_that_are_not_pure(name, grants):
    found = inspect_code(guest(name))
    assert (found.pure, found.grants) == (False, grants)


@pytest.mark.parametrize(
    ("memory", "first", "most"),
    [
        ("(memory 2 5)", 2 * 65_536, 5 * 65_536),
        ("(memory 1)", 65_536, None),
        ("", None, None),
        ("(memory 0)", 0, None),
    ],
)
def test_memory(memory, first, most):
    found = inspect_code(build(f'(module {memory} (func (export "_start")))'))
    assert (found.memory_bytes, found.memory_max_bytes) == (first, most)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('(module (func (export "main")))', "no runtime recognises the module: it exports main"),
        ("(module)", "it exports nothing"),
        ('(module (import "env" "odd" (func)) (func (export "_start")))', "imports 'odd' from 'env'"),
        ('(module (func (export "callHandle")))', "'callHandle'"),
        ("(component)", "does not export 'wasi:cli/run"),
    ],
)
def test_default_refuses_what_no_runtime_can_run_and_says_what_is_missing(text, reason):
    with pytest.raises(ModuleError) as caught:
        check_code("default", build(text))
    assert reason in str(caught.value)


@pytest.mark.parametrize("code", [b"", b"print(1)", b"#!/bin/sh"])
def test_default_leaves_what_is_no_wasm_to_the_agents(code):
    check_code("default", code)


def test_default_chooses_for_the_server_as_for_the_agent():
    assert [name for name in RUNTIMES if name in CHECKS] == list(CHECKS)


def test_damaged_module_is_an_error():
    with pytest.raises(ModuleError, match="damaged"):
        inspect_code(guest("echo")[:-1] + b"\xff\xff")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ((SAMPLES / "http" / "echo.wat").read_bytes(), True),
        (b'(component (instance $a) (export "wasi:cli/run@0.2.0" (instance $a)))', False),
        (
            b"""(component (instance $a) (export "wasi:cli/run@0.2.0" (instance $a))
                (export "wasi:http/incoming-handler@0.2.0" (instance $a)))""",
            False,
        ),
        ((SAMPLES / "capsule_hello.wasm").read_bytes(), False),
        ((SAMPLES / "echo.wasm").read_bytes(), False),
        ((SAMPLES / "scripts" / "word_count.lua").read_bytes(), False),
        (b'(module (func (export "callHandleHTTP") (param i32 i32) (result i64) i64.const 0))', True),
        (b'(module (func (export "callHandleHttp") (param i32) (result i64) i64.const 0))', True),
        (b'(module (func (export "callHandle") (param i32 i32) (result i64) i64.const 0))', False),
    ],
)
def test_what_is_for_requests_alone_is_told(code, expected):
    is_text = code[:1] in b"(;"
    assert answers_requests_alone(build(code.decode()) if is_text else code) is expected
