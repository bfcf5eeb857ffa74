"""Guests in the text format: what all guests of a folder have is in its ``common.wat``."""

import functools
from pathlib import Path

import wasmtime

GUESTS = Path(__file__).parents[1] / "guests"
BY_BODY = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 2048) "Sseen")
  (func (export "malloc") (param i32) (result i32) (i32.const 4096))
  (func (export "allocateBuffer") (param i32) (result i32) (i32.const 70000))
  (func (export "callHandle") (param $at i32) (param $size i32) (result i64) (local $act i32)
    (local.set $act (i32.load8_u (local.get $at)))
    (i32.store (i32.const 8) (local.get $at)) (i32.store (i32.const 12) (local.get $size))
    (drop (call $write (i32.const 2) (i32.const 8) (i32.const 1) (i32.const 16)))
    (if (i32.eq (local.get $act) (i32.const 116)) (then unreachable))
    (if (i32.eq (local.get $act) (i32.const 108)) (then (loop $again (br $again))))
    (if (i32.eq (local.get $act) (i32.const 119)) (then
      (i32.store8 (i32.const 512) (i32.const 0)) (i64.store (i32.const 536) (i64.const 1200000000))
      (drop (call $poll (i32.const 512) (i32.const 600) (i32.const 1) (i32.const 700)))))
    (i64.const 0x80000000005)))"""
"""Logs the body, and answers "seen"; traps, loops or waits 1.2 s between when the body begins with t, l or w."""


def read_guest(name: str) -> str:
    """Return the text of ``{name}.wat``, with what it has in common with the others of its folder."""
    path = GUESTS / f"{name}.wat"
    text, common = path.read_text(), path.with_name("common.wat")
    if not common.exists() or "stands alone" in text.partition("\n")[0]:
        return text
    # At the end of the module: imports come first. What a component has can be used only after it.
    return f"{text.rstrip().removesuffix(')')}\n{common.read_text()})"


@functools.cache
def build(source: str) -> bytes:
    """Return the wasm of a text."""
    return bytes(wasmtime.wat2wasm(source))
