"""A deterministic guest does the same under each engine: output, memory, fuel; and what is not compared."""

from pathlib import Path

import pytest
from abis import MODULE_ABIS
from random_modules import write_module
from tries import tries

from piecework.protocol.codes import ErrorKind
from piecework.worker_agent.runtimes import ENGINES
from piecework.worker_agent.runtimes.base import Build, CodeFile

pytestmark = pytest.mark.integration  # they compile all samples three times, and interpreters

SAMPLES = Path(__file__).parents[4] / "samples"
GIVEN = {
    "capsule_g1": b"ping there",
    "capsule_g2": b"ping there",
    "capsule_g3": b"memory-set a b",
    "capsule_g4": b"cache-set a b",
    "funless_before": b"[1, 2]",
    "funless_fetch": b'"http://example.com/"',
    "merge_frequencies": b"one 1\ntwo 2\none 3\n",
    "sum": b"1 2 3\n",
}
ARGS = {
    "burn_cpu": ("200000",),
    "count_slowly": ("3",),
    "exit_with_code": ("7",),
    "mandelbrot_tile": ("16", "16", "-0.5", "0.0", "3.0"),
    "keep_values": ("space", "get", "key"),
}
OUT = """
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (func $print (param i32 i32)
    (i32.store (i32.const 0) (local.get 0)) (i32.store (i32.const 4) (local.get 1))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
"""
SMUGGLERS = {
    "memory that nobody wrote": """(memory (export "memory") 1)
      (func (export "_start")
        (drop (memory.grow (i32.const 10)))
        (call $print (i32.const 65536) (i32.const 655360)))""",
    "growth that fails": """(memory (export "memory") 1)
      (func (export "_start") (local $pages i32)
        (loop $more
          (local.set $pages (i32.add (local.get $pages) (i32.const 1)))
          (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        (i32.store (i32.const 16) (local.get $pages))
        (i32.store (i32.const 20) (memory.size))
        (call $print (i32.const 16) (i32.const 8)))""",
    "tables that grow too large": """(memory (export "memory") 1) (table $t 1 funcref)
      (func (export "_start")
        (i32.store (i32.const 16) (table.grow $t (ref.null func) (i32.const 150000)))
        (i32.store (i32.const 20) (table.grow $t (ref.null func) (i32.const 150000)))
        (i32.store (i32.const 24) (table.size $t))
        (call $print (i32.const 16) (i32.const 12)))""",
    "bits of NaN": """(memory (export "memory") 1)
      (func (export "_start")
        (f32.store (i32.const 16) (f32.div (f32.const 0) (f32.const 0)))
        (f32.store (i32.const 20) (f32.sqrt (f32.const -1)))
        (f64.store (i32.const 24) (f64.add (f64.const nan:0x123) (f64.const 1)))
        (f64.store (i32.const 32) (f64.min (f64.const -nan:0x77) (f64.const 1)))
        (f32.store (i32.const 40) (f32.demote_f64 (f64.const -nan:0x77)))
        (f64.store (i32.const 48) (f64.mul (f64.const inf) (f64.const 0)))
        (v128.store (i32.const 64) (f32x4.div (v128.const f32x4 0 -0 1 inf) (v128.const f32x4 0 0 0 inf)))
        (v128.store (i32.const 80) (f64x2.sqrt (v128.const f64x2 -1 nan:0x5)))
        (call $print (i32.const 16) (i32.const 80)))""",
    "what relaxed SIMD rounds": """(memory (export "memory") 1)
      (func (export "_start")
        (v128.store (i32.const 16) (f32x4.relaxed_madd
          (v128.const f32x4 1.1 2.2 3.3 1e20) (v128.const f32x4 1.3 -2.7 0.1 1e20)
          (v128.const f32x4 -1.43 5 7 -inf)))
        (v128.store (i32.const 32) (i32x4.relaxed_trunc_f32x4_s (v128.const f32x4 nan 1e20 -1e20 2.5)))
        (v128.store (i32.const 48) (i8x16.relaxed_swizzle (v128.const i64x2 7 9) (v128.const i64x2 0x8990 0xff)))
        (call $print (i32.const 16) (i32.const 48)))""",
    "a trap that the processor finds": """(memory (export "memory") 1)
      (func (export "_start") (i32.store (i32.const 16) (i32.div_u (i32.const 1) (memory.grow (i32.const 0)))
        ) (drop (i32.div_u (i32.const 1) (i32.sub (memory.size) (i32.const 1)))))""",
    "a place outside": """(memory (export "memory") 1)
      (func (export "_start") (i32.store (i32.const 16) (i32.const 5)) (drop (i32.load (i32.const 65536))))""",
    "a call of nothing": """(memory (export "memory") 1) (table 1 funcref)
      (func (export "_start") (call_indirect (i32.const 0)))""",
    "an exception that nobody takes": """(memory (export "memory") 1) (tag $t)
      (func (export "_start") (throw $t))""",
}


def sum_up(done):
    """Return what runs of one subject have in common."""
    kind = done.error and done.error.kind
    return (
        done.output,
        kind,
        done.error and done.error.message,
        done.exit_code,
        done.usage.fuel,
        done.usage.digests,
    )


@pytest.fixture
def compare(run):
    """Return a function that runs code under each engine, and returns what all of them made of it."""

    def run_all(code, **fields):
        fields = {"seed": b"a seed", "fuel": 30_000_000, "timeout_s": 60.0, **fields}
        first, *others = [run(code, engine=engine, **fields) for engine in ENGINES]
        assert [sum_up(each) for each in others] == [sum_up(first)] * len(others)
        return first

    return run_all


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.wasm")), ids=lambda path: path.stem)
def test_samples_are_the_same_under_each_engine(compare, path):
    name = path.stem
    done = compare(
        path.read_bytes(),
        runtime="default",
        given=GIVEN.get(name, b"some words of some input\n"),
        args=ARGS.get(name, ()),
        memory_bytes=64 * 1024 * 1024,
        output_bytes=1024 * 1024,
    )
    assert done.usage.digests.memory


@pytest.mark.parametrize("name", SMUGGLERS)
def test_nothing_of_the_machine_shows(compare, build_text, name):
    done = compare(build_text(f"(module {OUT} {SMUGGLERS[name]})"), memory_bytes=8 * 1024 * 1024)
    assert (done.error is None) == (not name.startswith("a"))


@pytest.mark.parametrize("runtime", ["python3.12", "javascript", "lua5.4", "micropython"])
def test_interpreters_are_the_same_under_each_engine(compare, runtime):
    code = {
        "python3.12": b"print(sum(i * 0.1 for i in range(100)), hash('x'))",
        "javascript": b"console.log([3, 1, 2].sort(), 0.1 + 0.2, Math.random(), Date.now())",
        "lua5.4": b"print(0.1 + 0.2, math.random(), os.time())",
        "micropython": b"import time; print(sum(i * 0.1 for i in range(100)), hash('x'), time.time())",
    }[runtime]
    done = compare(code, runtime=runtime, fuel=None)
    assert done.error is None


@pytest.mark.parametrize("runtime", MODULE_ABIS)
@pytest.mark.parametrize("behaviour", ["echo", "fail", "flood_output", "loop", "read_part", "trap"])
def test_guests_of_all_kinds_are_the_same_under_each_engine(compare, build_guest, runtime, behaviour):
    given = next(iter(MODULE_ABIS[runtime].echoes.values()))
    code = build_guest(f"{runtime}/{behaviour}")
    done = compare(code, runtime=runtime, given=given, fuel=1_000_000, output_bytes=10_000)
    assert (done.error is None) == (behaviour in {"echo", "read_part"})


def test_depth_of_the_stack_is_no_match(run, build_guest):
    """Each engine has frames of its own size: such an end is not compared."""
    ends = [run(build_guest("wasi/recurse"), seed=b"a seed", engine=engine) for engine in ENGINES]
    assert {each.error.kind for each in ends} == {ErrorKind.TRAP}
    assert {each.error.message for each in ends} == {"call stack exhausted"}


def test_atomic_instructions_are_refused_by_pulley(run, build_text):
    code = build_text("""(module (memory (export "memory") 1)
      (func (export "_start") (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))))""")
    assert run(code, seed=b"a seed", engine="cranelift-none").error is None
    refused = run(code, seed=b"a seed", engine="pulley").error
    assert refused.kind is ErrorKind.LOAD
    assert "threads" in refused.message


def test_each_engine_keeps_its_own_machine_code(toolchain, store_code, tmp_path, build_text):
    code = CodeFile(*store_code(build_text('(module (memory 1) (func (export "_start")))')))
    for engine in (*ENGINES, *reversed(ENGINES)):
        toolchain.load(code, Build(engine=engine)).close()
    assert len({toolchain.engine(Build(engine=engine)) for engine in ENGINES}) == len(ENGINES)


@pytest.mark.parametrize("first", range(0, tries(50), 10))
def test_random_modules_are_the_same_under_each_engine(compare, build_text, first):
    ends = [
        compare(build_text(write_module(seed)), memory_bytes=8 * 1024 * 1024) for seed in range(first, first + 10)
    ]
    kinds = {each.error and each.error.kind for each in ends}
    assert kinds <= {None, ErrorKind.TRAP, ErrorKind.FUEL}
    assert None in kinds
