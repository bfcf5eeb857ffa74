"""Small guests, mutants of them, and what they truly give: wasmtime alone tells."""

import hashlib
import re

import wasmtime
from tries import tries

MODULE = """(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  %s
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 512))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 4) (call $work (i32.const 1024) (i32.load (i32.const 8))))
    (i32.store (i32.const 0) (i32.const 4096))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""
"""Each reads its input, and writes what ``$work`` puts to 4096."""
WORKS = {
    "hash": """(func $work (param $at i32) (param $size i32) (result i32) (local $hash i32) (local $end i32)
    (local.set $hash (i32.const 5381)) (local.set $end (i32.add (local.get $at) (local.get $size)))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
      (local.set $hash (i32.xor (i32.mul (local.get $hash) (i32.const 33)) (i32.load8_u (local.get $at))))
      (if (i32.gt_u (i32.load8_u (local.get $at)) (i32.const 120)) (then
        (local.set $hash (i32.rotl (local.get $hash) (i32.const 7)))))
      (local.set $at (i32.add (local.get $at) (i32.const 1))) (br $next)))
    (i32.store (i32.const 4096) (local.get $hash)) (i32.const 4))""",
    "upper": """(func $work (param $at i32) (param $size i32) (result i32) (local $n i32) (local $byte i32)
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $n) (local.get $size)))
      (local.set $byte (i32.load8_u (i32.add (local.get $at) (local.get $n))))
      (if (i32.and (i32.ge_u (local.get $byte) (i32.const 97)) (i32.le_u (local.get $byte) (i32.const 122)))
        (then (local.set $byte (i32.sub (local.get $byte) (i32.const 32)))))
      (if (i32.eq (local.get $byte) (i32.const 33)) (then (local.set $byte (i32.const 46))))
      (i32.store8 (i32.add (local.get $n) (i32.const 4096)) (local.get $byte))
      (local.set $n (i32.add (local.get $n) (i32.const 1))) (br $next)))
    (local.get $n))""",
    "number": """(func $work (param $at i32) (param $size i32) (result i32)
    (local $n i32) (local $sum i32) (local $d i32)
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $n) (local.get $size)))
      (local.set $d (i32.sub (i32.load8_u (i32.add (local.get $at) (local.get $n))) (i32.const 48)))
      (if (i32.lt_u (local.get $d) (i32.const 10)) (then
        (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 10)) (local.get $d)))))
      (if (i32.gt_u (local.get $sum) (i32.const 20000)) (then unreachable))
      (local.set $n (i32.add (local.get $n) (i32.const 1))) (br $next)))
    (i32.store (i32.const 4096) (local.get $sum)) (i32.const 4))""",
}
OTHERS = {
    "add": "sub", "sub": "add", "mul": "add", "xor": "or", "and": "or", "rotl": "rotr", "eq": "ne",
    "ge_u": "gt_u", "gt_u": "ge_u", "le_u": "lt_u", "lt_u": "le_u",
}  # fmt: skip
INPUTS, FUEL = min(tries(67), 67), 20_000
"""For each of three functions."""


def make_mutants(work):
    """Return the texts in which one operator or number is another."""
    found = []
    for place in re.finditer(r"i32\.(\w+) ?(\d*)", work):
        name, number = place.groups()
        if name == "const":
            others = [f"i32.const {int(number) + 1}", f"i32.const {int(number) ^ 2}"]
        else:
            others = [f"i32.{OTHERS[name]} "] if name in OTHERS else []
        found += [work[: place.start()] + other + work[place.end() :] for other in others]
    return found


def make_inputs():
    """Return inputs that are short and long, letters, digits and anything."""
    for n in range(INPUTS):
        noise = hashlib.sha512(b"%d" % n).digest()
        alphabet = (b"0123456789 ", b"abcxyz!{`AZ", bytes(range(256)))[n % 3]
        yield bytes(alphabet[byte % len(alphabet)] for byte in noise[: n % 12])


class Direct:
    """Runs code in this process, with wasmtime alone: what truly comes out."""

    def __init__(self, code):
        config = wasmtime.Config()
        config.consume_fuel = True
        self.engine = wasmtime.Engine(config)
        self.module = wasmtime.Module(self.engine, code)

    def run(self, given):
        store, output = wasmtime.Store(self.engine), []
        store.set_fuel(FUEL)

        def transfer(caller, number, vector, _count, told):
            memory = caller["memory"]
            at, size = (int.from_bytes(memory.read(caller, n, n + 4), "little") for n in (vector, vector + 4))
            if number:
                if at + size > memory.data_len(caller):
                    return 21
                output.append(bytes(memory.read(caller, at, at + size)))
            else:
                size = min(size, len(given))
                memory.write(caller, given[:size], at)
            memory.write(caller, size.to_bytes(4, "little"), told)
            return 0

        kind = wasmtime.FuncType([wasmtime.ValType.i32()] * 4, [wasmtime.ValType.i32()])
        imports = [wasmtime.Func(store, kind, transfer, access_caller=True) for _ in range(2)]
        start = wasmtime.Instance(store, self.module, imports).exports(store)["_start"]
        try:
            start(store)
        except wasmtime.Trap as trap:
            return "fuel" if "fuel" in trap.message else "trap"
        return b"".join(output)
