"""Gates: recorded calls against new code. Mutants are found exactly where their results truly differ."""

import hashlib
import re
import socket
from pathlib import Path

import pytest
import wasmtime
from receipts import sha256
from tries import tries

from piecework.protocol.bodies import decode, encode
from piecework.receipts import Bundle
from piecework.receipts.gates import GateBounds, GateRun, sum_runs
from piecework.worker_agent.replaying import gating
from piecework.worker_agent.replaying.gating import CodeGate, NewCode, NewCodeError
from piecework.worker_agent.runtimes.base import CodeFile
from piecework.worker_agent.runtimes.linkage.direct import DirectLinkage

SAMPLES = Path(__file__).parents[3] / "samples"
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
RECORDS, MUTANTS, FUEL = min(tries(67), 67), 17, 20_000
"""Of each of three functions."""


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
    for n in range(RECORDS):
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


@pytest.fixture
def pass_all(node, tmp_path):
    """Return a function that replays bundles against new code, and returns what came of each."""

    def replay_all(bundles, code, runtime="wasi", **options):
        checksum = sha256(code)
        path = tmp_path / checksum
        path.write_bytes(code)
        runs = []
        with CodeGate(NewCode(CodeFile(path, checksum), runtime), node, timeout_s=120.0, **options) as gate:
            for each in bundles:
                with Bundle(each) as bundle:
                    runs.append(gate.replay(bundle, 65_536))
        return runs

    return replay_all


def judge(runs, **bounds):
    return sum_runs(1, "0" * 64, "wasi", runs, GateBounds(**bounds))


@pytest.mark.integration
@pytest.mark.parametrize("toolchain", [DirectLinkage], indirect=True, ids=["direct"])
@pytest.mark.parametrize("name", WORKS)
def test_mutants_are_found_where_their_results_truly_differ(bundle_run, pass_all, build_text, tmp_path, name):
    inputs = list(make_inputs())
    old = build_text(MODULE % WORKS[name])
    bundles = []
    for n, given in enumerate(inputs):
        run = bundle_run(old, record=n % 2 == 0, given=given, fuel=FUEL)
        bundles.append(run.write(tmp_path / f"{n}.bundle"))
    then = [Direct(old).run(given) for given in inputs]
    mutants = make_mutants(WORKS[name])
    assert len(mutants) >= MUTANTS
    caught = 0
    for text in mutants[:MUTANTS]:
        code = build_text(MODULE % text)
        direct = Direct(code)
        differs = [direct.run(given) != was for given, was in zip(inputs, then, strict=True)]
        runs = pass_all(bundles, code)
        assert [run.kind != "identical" for run in runs] == differs, text
        caught += any(differs)
        evidence = judge(runs)
        assert (evidence.compared, evidence.identical) == (RECORDS, RECORDS - sum(differs))
        assert evidence.passed is not any(differs)
    assert caught >= MUTANTS // 2
    # The same again, with another digest: nobody is alarmed.
    rebuilt = old + b"\0\x08\x04noteabc"
    assert sha256(rebuilt) != sha256(old)
    evidence = judge(pass_all(bundles, rebuilt), fuel_percent=0, memory_percent=0)
    assert (evidence.passed, evidence.identical) == (True, RECORDS)
    assert (evidence.fuel_now, evidence.memory_now) == (evidence.fuel_then, evidence.memory_then)


@pytest.fixture
def listener():
    """A port to which nobody must connect."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


def test_code_that_asks_the_outside_is_a_finding_and_asks_nobody(
    bundle_run, pass_all, build_guest, tmp_path, listener
):
    given = f'"http://127.0.0.1:{listener.getsockname()[1]}/"'.encode()
    old = bundle_run(build_guest("funless/echo"), runtime="funless", given=given)
    fetch = (SAMPLES / "funless_fetch.wasm").read_bytes()
    [run] = pass_all([old.write(tmp_path / "old.bundle")], fetch, "funless")
    assert run.kind == "calls"
    assert re.match(r"host call \d+: it asks for http .*, which the old one did not", run.message), run.message
    with pytest.raises(BlockingIOError):
        listener.accept()
    for policy, passed in (("identical", False), ("same-status", False), ("report", True)):
        evidence = judge([run], policy=policy)
        assert (evidence.passed, evidence.calls) == (passed, 1)
        assert evidence.findings[0].kind == "calls"


def test_a_deterministic_call_that_asks_the_outside_is_a_finding(
    bundle_run, pass_all, build_guest, tmp_path, listener
):
    given = f'"http://127.0.0.1:{listener.getsockname()[1]}/"'.encode()
    fetch = (SAMPLES / "funless_fetch.wasm").read_bytes()
    old = bundle_run(build_guest("funless/echo"), record=False, runtime="funless", given=given)
    [run] = pass_all([old.write(tmp_path / "old.bundle")], fetch, "funless")
    assert run.kind == "calls"
    assert re.match("it asks for what the old one did not: .* denied: ", run.message), run.message
    # What asked before, and was denied, may ask again.
    old = bundle_run(fetch, record=False, runtime="funless", given=given)
    [run] = pass_all([old.write(tmp_path / "asked.bundle")], fetch + b"\0\x08\x04noteabc", "funless")
    assert run.kind == "identical"
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_code_that_asks_less_is_a_finding(bundle_run, pass_all, tmp_path):
    old = bundle_run(b"import time\nprint(time.time() > 0)", runtime="python3.12").write(tmp_path / "old.bundle")
    [run] = pass_all([old], b"print(True)", "python3.12")
    assert run.kind == "calls"


def test_another_output_passes_where_the_end_alone_counts(bundle_run, pass_all, build_guest, build_text, tmp_path):
    old = bundle_run(build_guest("wasi/echo"), record=False, given=b"hello").write(tmp_path / "old.bundle")
    [run] = pass_all([old], build_text(MODULE % WORKS["upper"]))
    assert (run.kind, run.byte) == ("output", 0)
    assert run.message == "the output differs from byte 0 on: then 5 bytes, now 5"
    assert judge([run], policy="same-status").passed
    assert judge([run]).why == ["1 of 1 calls did not come to what 'identical' asks for"]
    assert judge([run], policy="same-status", fuel_percent=0).passed is (run.fuel_now <= run.fuel_then)


def test_new_failures_and_recoveries_are_told_apart(bundle_run, pass_all, build_guest, tmp_path):
    good = bundle_run(build_guest("wasi/echo"), record=False).write(tmp_path / "good.bundle")
    bad = bundle_run(build_guest("wasi/trap"), record=False).write(tmp_path / "bad.bundle")
    [failure, same] = pass_all([good, bad], build_guest("wasi/trap"))
    assert (failure.kind, same.kind) == ("failure", "identical")
    assert failure.message.startswith("the state differs: then Finished, now Fail_Execution: ")
    [same, recovery] = pass_all([good, bad], build_guest("wasi/echo"))
    assert (same.kind, recovery.kind) == ("identical", "recovery")
    assert not judge([recovery], policy="same-status").passed


def test_a_failure_before_the_first_host_call_is_a_failure(bundle_run, pass_all, tmp_path):
    old = bundle_run(b"import time\nprint(time.time() > 0)", runtime="python3.12").write(tmp_path / "old.bundle")
    [run] = pass_all([old], b"raise ValueError('none of that')", "python3.12")
    assert run.kind == "failure"
    assert "none of that" in run.message


def test_what_a_guest_says_of_its_failure_can_be_sent(bundle_run, pass_all, tmp_path):
    old = bundle_run(b"print(1)", record=False, runtime="python3.12").write(tmp_path / "old.bundle")
    [run] = pass_all(
        [old], b"import sys; sys.stderr.write('a\\0b\\x1b[31m\\udc80\\n'); raise SystemExit(3)", "python3.12"
    )
    assert run.kind == "failure"
    assert decode(encode(run), GateRun) == run


def test_a_loop_without_end_is_given_up_by_its_fuel(bundle_run, pass_all, build_guest, tmp_path, monkeypatch):
    monkeypatch.setattr(gating, "FUEL_SPARE", 1_000_000)
    old = bundle_run(build_guest("wasi/echo"), record=False, given=b"hello").write(tmp_path / "old.bundle")
    [run] = pass_all([old], build_guest("wasi/loop"))
    assert run.kind == "failure"
    assert "fuel" in run.message


@pytest.mark.parametrize("record", [False, True])
def test_code_that_cannot_be_loaded_ends_the_gate(record, bundle_run, pass_all, build_guest, tmp_path):
    old = bundle_run(build_guest("wasi/echo"), record=record).write(tmp_path / "old.bundle")
    with pytest.raises(NewCodeError, match="the new code cannot be run: "):
        pass_all([old], b"\0asm\x01\0\0\0\xff")


def test_a_record_without_its_journal_is_passed_over(bundle_run, pass_all, build_guest, tmp_path):
    bundled = bundle_run(build_guest("wasi/echo"))
    [run] = pass_all([bundled.write(tmp_path / "old.bundle", subject={"journal": None})], build_guest("wasi/echo"))
    assert (run.kind, run.message) == (
        "skipped",
        "the run was recorded, and its journal was not kept: it cannot be repeated",
    )
    evidence = judge([run])
    assert (evidence.passed, evidence.why) == (False, ["no call could be compared"])
