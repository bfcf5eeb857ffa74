"""Which runtime code is for, and what is refused that no runtime takes."""

import pytest
import wasmtime
from guests import guest

from piecework.modules import ModuleError, check_code, check_room, choose_runtime, inspect_module, resolve_runtime

MIB = 1024 * 1024
ELF = b"\x7fELF\2\1\1\0" + bytes(8) + b"\2\0"


@pytest.mark.parametrize(
    ("code", "name", "runtime"),
    [
        (b"print(1)", "hi.py", "python3.12"),
        (b"print(1)", "HI.PY", "python3.12"),
        (b"print(1)", "a.b/hi.mjs", "javascript"),
        (b"print(1)", "hi.lua", "lua5.4"),
        (b"", "hi.py", "python3.12"),
        (b"MZ = 1", "hi.py", "python3.12"),
        (b"#!/usr/bin/env python3\nprint(1)", "", "python3.12"),
        (b"#!/usr/bin/python\r\nprint(1)", "63", "python3.12"),
        (b"#!/usr/bin/env -S lua -W\n", "tool", "lua5.4"),
        (b"#!/usr/bin/env -S A=1 node --no-warnings\n", "tool", "javascript"),
        (b"#! /opt/lua5.3\n", "tool", "lua5.4"),
        (b"#!/usr/bin/env micropython\n", "hi.py", "micropython"),
        ("print('é')".encode("latin-1"), "hi.py", "python3.12"),
        (guest("echo"), "hi.py", "wasi"),
        (guest("capsule_g4"), "", "capsule"),
    ],
)
def test_code_and_name_tell_the_runtime(code, name, runtime):
    assert choose_runtime("default", code, name) == runtime


def test_a_runtime_that_is_wanted_is_taken():
    assert choose_runtime("wasi", b"print(1)", "hi.py") == "wasi"


@pytest.mark.parametrize(
    ("code", "name", "words"),
    [
        (b"print(1)", "hi", "for a script, name the runtime: lua5.4, javascript, python3.12 or micropython"),
        (b"#!/bin/sh\necho", "hi.py", "a script for /bin/sh, which no runtime has"),
        (b"int main() {}", "hi.c", "source in C: compile it to WASI, as docs/guests.md tells"),
        (b"fn main() {}", "hi.rs", "source in Rust"),
        (
            ELF,
            "hi.py",
            "an ELF program for Linux, not a wasm module: compile it to WASI, as docs/guests.md",
        ),
        (b"<html>", "hi.js", "an HTML page"),
        (b"PK\x03\x04", "hi.zip", "unpack it"),
    ],
)
def test_code_that_tells_no_runtime_is_explained(code, name, words):
    with pytest.raises(ModuleError) as caught:
        choose_runtime("default", code, name)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "runtime"),
    [
        ("python", "python3.12"),
        ("Python3", "python3.12"),
        ("js", "javascript"),
        ("lua", "lua5.4"),
        ("python+http", "python3.12+http"),
        ("wasi+files", "wasi+files"),
        ("dlabLua", "dlabLua"),
        (" wasi ", "wasi"),
    ],
)
def test_what_people_call_a_runtime_is_its_name(wanted, runtime):
    assert resolve_runtime(wanted, lambda: ["wasi"]) == runtime


def test_a_runtime_that_is_offered_is_itself():
    assert resolve_runtime("python", lambda: ["wasi", "python+http"]) == "python"
    assert resolve_runtime("ruby+files", lambda: ["ruby"]) == "ruby+files"


def test_any_name_is_taken_where_nobody_knows():
    assert resolve_runtime("ruby", lambda: None) == "ruby"


@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [("pyton3.12", "python3.12"), ("phyton", "python3.12"), ("javascrpt", "javascript"), ("rubi", "ruby")],
)
def test_an_unknown_runtime_is_told_the_nearest_and_all(wanted, nearest):
    with pytest.raises(ModuleError) as caught:
        resolve_runtime(wanted, lambda: ["ruby+http"])
    assert f"there is no runtime {wanted!r}: did you mean {nearest}? There are " in str(caught.value)
    assert "capsule, component" in str(caught.value)
    assert "ruby" in str(caught.value)


def test_an_unknown_runtime_with_no_like_is_told_all():
    with pytest.raises(ModuleError, match="no runtime 'x': there are capsule, component"):
        resolve_runtime("x", list)


@pytest.mark.parametrize(
    ("runtime", "code", "words"),
    [
        (
            "python3.12",
            guest("echo"),
            "a wasm binary, and python3.12 runs scripts: name the runtime wasi, or none",
        ),
        ("dlabLua", bytes(wasmtime.wat2wasm("(module)")), "name a runtime for modules"),
        ("javascript", ELF, "an ELF program for Linux, and javascript runs scripts: compile it"),
        ("micropython", b"\x1bLua\x54", "compiled Lua"),
        ("python3.12", b"\n<!doctype html>", "an HTML page"),
        ("wasi", b"#!/usr/bin/env python3\n", "not a wasm binary: name the runtime python3.12"),
        ("wasi", b"print(1)", "not a wasm binary: for a script, name the runtime of its language"),
        ("wasi", ELF, "an ELF program for Linux, not a wasm binary: compile it to WASI"),
    ],
)
def test_code_of_another_kind_than_its_runtime_is_refused(runtime, code, words):
    with pytest.raises(ModuleError) as caught:
        check_code(runtime, code)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("runtime", "code"),
    [("lua5.4", b"\x1bLua\x54"), ("python3.12", b""), ("lua5.4", bytes(range(128, 256))), ("exotic", ELF)],
)
def test_what_may_be_right_is_let_through(runtime, code):
    assert check_code(runtime, code) is None


@pytest.mark.parametrize(
    ("limit", "words"),
    [(MIB, "needs 17 MB, limit 1 MB"), (70_000, "needs 17825792 bytes, limit 70000 bytes"), (17 * MIB, None)],
)
def test_memory_at_the_start_must_fit_into_the_limit(limit, words):
    facts = inspect_module(bytes(wasmtime.wat2wasm("(module (memory 272))")))
    if words is None:
        check_room(facts, limit)
    else:
        with pytest.raises(ModuleError, match=words):
            check_room(facts, limit)
