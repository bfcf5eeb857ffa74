"""Random wasm modules: numbers of all kinds, memory, branches, loops that end, calls, growth. They may trap."""

from random import Random

KINDS = ("i32", "i64", "f32", "f64")
WIDTH = {"i32": 4, "i64": 8, "f32": 4, "f64": 8}
INTEGERS = (
    "add", "sub", "mul", "and", "or", "xor", "shl", "shr_s", "shr_u", "rotl", "rotr", "div_s", "div_u", "rem_s",
    "rem_u",
)  # fmt: skip
FLOATS = ("add", "sub", "mul", "div", "min", "max", "copysign")
ALONE = {
    "i": ("clz", "ctz", "popcnt", "extend8_s", "extend16_s"),
    "f": ("abs", "neg", "ceil", "floor", "trunc", "nearest", "sqrt"),
}
COMPARED = {"i": ("eq", "ne", "lt_s", "lt_u", "gt_s", "ge_u", "le_s"), "f": ("eq", "ne", "lt", "gt", "le", "ge")}
CONVERTED = {
    "i32": {"wrap_i64": "i64", "trunc_sat_f32_s": "f32", "trunc_sat_f64_u": "f64", "reinterpret_f32": "f32"},
    "i64": {"extend_i32_s": "i32", "extend_i32_u": "i32", "trunc_sat_f64_s": "f64", "reinterpret_f64": "f64"},
    "f32": {"convert_i32_s": "i32", "convert_i64_u": "i64", "demote_f64": "f64", "reinterpret_i32": "i32"},
    "f64": {"convert_i32_u": "i32", "convert_i64_s": "i64", "promote_f32": "f32", "reinterpret_i64": "i64"},
}
NUMBERS = ("0", "1", "-1", "2", "7", "255", "65535", "2147483647", "-2147483648")
FRACTIONS = ("0", "-0", "1.5", "-2.25", "1e30", "-1e-30", "inf", "-inf", "nan", "nan:0x200001", "0.1")
LOCALS = 3
"""Of each kind."""
FUNCTIONS = 4
SHOWN_BYTES = 4096
DEPTH = 4
SAFE = 0.98
"""The share of divisions that do not trap."""


class _Writer:
    """Writes one module."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._loops = 0

    def write(self) -> str:
        functions = "\n".join(self._function(number) for number in range(FUNCTIONS))
        globals_ = "\n".join(f"(global $g{kind} (mut {kind}) ({kind}.const 0))" for kind in KINDS)
        return f"""(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1 4) {globals_}
  {functions}
  (func (export "_start")
    (call $f0 (i32.const 3) (i64.const 5) (f32.const 0.5) (f64.const -7))
    (i32.store (i32.const 65520) (i32.const 0)) (i32.store (i32.const 65524) (i32.const {SHOWN_BYTES}))
    (drop (call $write (i32.const 1) (i32.const 65520) (i32.const 1) (i32.const 65528)))))"""

    def _function(self, number: int) -> str:
        self._callees = range(number + 1, FUNCTIONS)
        self._loops = 0
        body = "\n    ".join(self._statement(2) for _ in range(6))
        parameters = " ".join(f"(param $p{kind} {kind})" for kind in KINDS)
        locals_ = " ".join(f"(local ${kind}{n} {kind})" for kind in KINDS for n in range(LOCALS))
        counters = " ".join(f"(local $c{n} i32)" for n in range(self._loops))
        return f"(func $f{number} {parameters} {locals_} {counters}\n    {body})"

    def _statement(self, depth: int) -> str:
        choice = self._random.choice(
            ["set", "set", "store", "store", "global", *(["if", "loop", "block"] * bool(depth)), "call", "grow"]
        )
        kind = self._random.choice(KINDS)
        match choice:
            case "set":
                text = f"(local.set ${kind}{self._random.randrange(LOCALS)} {self._value(kind, DEPTH)})"
            case "store":
                text = f"({kind}.store {self._place()} {self._value(kind, DEPTH)})"
            case "global":
                text = f"(global.set $g{kind} {self._value(kind, DEPTH)})"
            case "if":
                text = f"(if {self._value('i32', 2)} (then {self._some(depth)}) (else {self._some(depth)}))"
            case "loop":
                counter, self._loops = self._loops, self._loops + 1
                text = (
                    f"(local.set $c{counter} (i32.const {self._random.randrange(1, 9)}))"
                    f"(loop $l{counter} {self._some(depth)}"
                    f" (br_if $l{counter} (local.tee $c{counter}"
                    f" (i32.sub (local.get $c{counter}) (i32.const 1)))))"
                )
            case "block":
                text = f"(block {self._some(depth)} (br_if 0 {self._value('i32', 2)}) {self._some(depth)})"
            case "call" if self._callees:
                given = " ".join(self._value(each, 2) for each in KINDS)
                text = f"(call $f{self._random.choice(self._callees)} {given})"
            case _:
                text = "(drop (memory.grow (i32.const 1)))"
        return text

    def _some(self, depth: int) -> str:
        return " ".join(self._statement(depth - 1) for _ in range(self._random.randrange(1, 4)))

    def _place(self) -> str:
        return f"(i32.and {self._value('i32', 1)} (i32.const {SHOWN_BYTES - 8}))"

    def _value(self, kind: str, depth: int) -> str:
        if not depth or self._random.random() < 0.2:
            return self._leaf(kind)
        match self._random.randrange(7):
            case 0:
                text = f"({kind}.{self._random.choice(ALONE[kind[0]])} {self._value(kind, depth - 1)})"
            case 1:
                name, other = self._random.choice([*CONVERTED[kind].items()])
                text = f"({kind}.{name} {self._value(other, depth - 1)})"
            case 2 if kind == "i32":
                other = self._random.choice(KINDS)
                name = self._random.choice(COMPARED[other[0]])
                text = f"({other}.{name} {self._value(other, depth - 1)} {self._value(other, depth - 1)})"
            case 3:
                both = f"{self._value(kind, depth - 1)} {self._value(kind, depth - 1)}"
                text = f"(select {both} {self._value('i32', depth - 1)})"
            case 4:
                text = f"({kind}.load {self._place()})"
            case _:
                text = self._operation(kind, depth)
        return text

    def _operation(self, kind: str, depth: int) -> str:
        name = self._random.choice(INTEGERS if kind[0] == "i" else FLOATS)
        first, second = self._value(kind, depth - 1), self._value(kind, depth - 1)
        if name[:3] in {"div", "rem"} and kind[0] == "i" and self._random.random() < SAFE:
            second = f"({kind}.or {second} ({kind}.const 2))"
        return f"({kind}.{name} {first} {second})"

    def _leaf(self, kind: str) -> str:
        match self._random.randrange(4):
            case 0:
                return f"({kind}.const {self._random.choice(NUMBERS if kind[0] == 'i' else FRACTIONS)})"
            case 1:
                return f"(local.get $p{kind})"
            case 2:
                return f"(global.get $g{kind})"
        return f"(local.get ${kind}{self._random.randrange(LOCALS)})"


def write_module(seed: int) -> str:
    """Return the text of a module, always the same for a seed. It prints the first 4 KiB of its memory."""
    return _Writer(seed).write()
