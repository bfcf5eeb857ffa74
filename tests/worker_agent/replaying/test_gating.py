"""Gates: recorded calls against new code. Mutants are found exactly where their results truly differ."""

import re
import socket
from pathlib import Path

import pytest
from code_mutants import FUEL, INPUTS, MODULE, WORKS, Direct, make_inputs, make_mutants
from receipts import sha256

from piecework.protocol.bodies import decode, encode
from piecework.protocol.ids import Id
from piecework.receipts import Bundle
from piecework.receipts.gates import GateBounds, GateRun, sum_runs
from piecework.worker_agent.replaying import gating
from piecework.worker_agent.replaying.gating import CodeGate, NewCode, NewCodeError
from piecework.worker_agent.runtimes.base import CodeFile
from piecework.worker_agent.runtimes.linkage.direct import DirectLinkage

SAMPLES = Path(__file__).parents[3] / "samples"
MUTANTS = 17
"""Of each of three functions."""


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
                    runs.append(gate.replay(Id(bundle.payload.job), bundle, 65_536))
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
        assert (evidence.compared, evidence.identical) == (INPUTS, INPUTS - sum(differs))
        assert evidence.passed is not any(differs)
    assert caught >= MUTANTS // 2
    # The same again, with another digest: nobody is alarmed.
    rebuilt = old + b"\0\x08\x04noteabc"
    assert sha256(rebuilt) != sha256(old)
    evidence = judge(pass_all(bundles, rebuilt), fuel_percent=0, memory_percent=0)
    assert (evidence.passed, evidence.identical) == (True, INPUTS)
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_failure_before_the_first_host_call_is_a_failure(bundle_run, pass_all, tmp_path):
    old = bundle_run(b"import time\nprint(time.time() > 0)", runtime="python3.12").write(tmp_path / "old.bundle")
    [run] = pass_all([old], b"raise ValueError('none of that')", "python3.12")
    assert run.kind == "failure"
    assert "none of that" in run.message


@pytest.mark.slow
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
