"""What every runtime must do. A runtime's sample guests are in ``guests/{runtime}``, one for each behaviour.

What runtimes differ in, and which behaviours one cannot have, is in ``abis``.
"""

import json
import time
from functools import partial
from pathlib import Path

import pytest
from abis import ABIS, BEHAVIOURS, MIB, SCRIPT_ABIS
from patience import LONG_S

from piecework.http.exchange import Request, Response, read_response, write_request
from piecework.protocol.codes import ErrorKind
from piecework.worker_agent.runtimes import RUNTIMES
from piecework.worker_agent.runtimes.scripting.interpreters import KNOWN
from piecework.worker_agent.tasks import File

GUESTS = Path(__file__).parents[2] / "guests"


def param(runtime, *values, name):
    """Make a case. Interpreters are large, and compiled once for all tests: they are for the slow ones."""
    marks = [pytest.mark.integration] if runtime in SCRIPT_ABIS else []
    return pytest.param(runtime, *values, id=name, marks=marks)


def every(behaviour):
    """Run a test with each runtime that has this behaviour."""
    names = [name for name in ABIS if behaviour not in ABIS[name].lacks]
    return pytest.mark.parametrize("runtime", [param(name, name=name) for name in names])


def test_no_runtime_is_left_out():
    assert set(ABIS) == {*RUNTIMES, *(each.name for each in KNOWN)}


@pytest.fixture
def run_sample(run, runtime, build_guest):
    return lambda name, **fields: run(build_guest(f"{runtime}/{name}"), runtime=runtime, **fields)


@pytest.fixture
def abi(runtime):
    return ABIS[runtime]


@pytest.mark.parametrize("runtime", ABIS)
@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_every_runtime_has_a_guest_for_each_behaviour_or_a_reason_why_not(runtime, behaviour):
    has_guest = (GUESTS / runtime / f"{behaviour}.{ABIS[runtime].suffix}").exists()
    assert has_guest != bool(ABIS[runtime].lacks.get(behaviour))


@pytest.mark.parametrize(
    ("runtime", "given"),
    [
        param(runtime, given, name=f"{runtime}-{name}")
        for runtime in ABIS
        for name, given in ABIS[runtime].echoes.items()
    ],
)
def test_echo_returns_its_input(run_sample, given):
    done = run_sample("echo", given=given)
    assert (done.error, done.output, done.log) == (None, given, b"")


@every("echo")
def test_echo_of_nothing(run_sample, abi):
    done = run_sample("echo", given=b"")
    assert (done.error, done.output) == (None, abi.for_nothing)


@pytest.mark.slow
@every("echo")
def test_echo_of_10_mb_from_a_file_comes_out_in_a_file(run_sample, abi, tmp_path):
    given = abi.wrap(b"0123456789abcdef" * (10 * MIB // 16))
    source = tmp_path / "input"
    source.write_bytes(given)
    done = run_sample("echo", given=source, key=7)
    assert done.error is None
    assert isinstance(done.output, File)
    assert (tmp_path / "7.out").read_bytes() == given


@every("echo")
def test_output_may_have_its_limit_and_not_a_byte_more(run_sample, abi):
    given = abi.wrap(b"0123456789")
    whole = run_sample("echo", given=given).output
    assert run_sample("echo", given=given, output_bytes=len(whole)).output == whole
    assert run_sample("echo", given=given, output_bytes=len(whole) - 1).error.kind is ErrorKind.OUTPUT


@every("read_part")
def test_input_may_be_left_unread(run_sample, abi):
    done = run_sample("read_part", given=abi.wrap(b"0123456789" * 100_000))
    assert done.error is None
    assert done.output in (b"0123", abi.wrap(b"0123"))


@every("fail")
def test_failure_carries_the_last_words(run_sample, abi):
    done = run_sample("fail")
    assert done.error.kind is ErrorKind.GUEST
    assert done.error.message == abi.failure
    assert done.log == abi.failure_log


@every("trap")
def test_trap_tells_its_cause_and_its_place(run_sample):
    done = run_sample("trap")
    assert done.error.kind is ErrorKind.TRAP
    assert "unreachable" in done.error.message
    assert [line.split()[0] for line in done.error.trace.splitlines()] == ["inner", "outer"]


def check_timeout(run):
    began = time.monotonic()
    done = run(timeout_s=0.05)
    assert done.error.kind is ErrorKind.TIMEOUT
    assert done.error.message == "it ran longer than its limit of 0.05 s"
    assert time.monotonic() - began >= 0.05
    # Its limit counts from before the guest's store is made, which is not its own time.
    assert 0 < done.usage.wall_s < 5


@pytest.mark.slow
@every("loop")
def test_guest_that_computes_too_long_is_stopped_at_its_limit(run_sample):
    check_timeout(partial(run_sample, "loop"))


@every("sleep")
def test_guest_that_sleeps_too_long_is_stopped_at_its_limit(run_sample):
    check_timeout(partial(run_sample, "sleep"))


@every("eat_memory")
def test_guest_that_eats_memory_is_stopped_at_its_limit(run_sample, abi):
    done = run_sample("eat_memory", memory_bytes=20 * MIB)
    assert done.error.kind is ErrorKind.MEMORY
    assert str(20 * MIB) in done.error.message
    if abi.shows_memory:
        assert 16 * MIB < done.usage.memory_bytes <= 20 * MIB
    else:
        assert done.usage.memory_bytes is None


@every("grow_table")
def test_table_does_not_grow_without_end(run_sample, abi):
    done = run_sample("grow_table")
    assert done.error is None
    assert done.output in (b"kept small", abi.wrap(b"kept small"))


@every("recurse")
def test_guest_that_recurses_without_end_runs_out_of_stack(run_sample, abi):
    done = run_sample("recurse")
    assert done.error.kind in (ErrorKind.TRAP, ErrorKind.GUEST)
    assert abi.depth in done.error.message


@every("flood_output")
def test_guest_that_writes_too_much_is_stopped(run_sample, tmp_path):
    done = run_sample("flood_output", output_bytes=3 * MIB, timeout_s=LONG_S)
    assert done.error.kind is ErrorKind.OUTPUT
    assert str(3 * MIB) in done.error.message
    left = list(tmp_path.iterdir())
    kept = done.output if isinstance(done.output, bytes) else Path(done.output.path).read_bytes()
    assert len(kept) <= MIB
    assert left == ([] if isinstance(done.output, bytes) else [Path(done.output.path)])


@every("flood_log")
def test_log_keeps_the_newest_and_is_never_an_error(run_sample, abi):
    done = run_sample("flood_log", log_bytes=100)
    whole = (b"." * 1000 + abi.line_end) * 1000 + b"the end\n"
    assert done.error is None
    assert (done.log, done.log_offset) == (whole[-100:], len(whole) - 100)


@every("write_after_close")
def test_write_to_a_closed_output_is_refused(run_sample):
    done = run_sample("write_after_close")
    assert done.error.message == "exit code 8"


@every("result_outside")
@pytest.mark.parametrize("name", ["result_outside", "result_negative"])
def test_output_outside_of_the_memory_is_refused(run_sample, abi, name):
    done = run_sample(name)
    assert done.error.kind is ErrorKind.GUEST
    assert abi.outside in done.error.message
    assert done.output == b""


@every("unknown_import")
def test_unknown_import_is_named(run_sample):
    done = run_sample("unknown_import")
    assert done.error.kind is ErrorKind.LOAD
    assert "'summon'" in done.error.message
    assert "'env'" in done.error.message


@every("no_entry")
def test_missing_entry_is_named(run_sample, abi):
    done = run_sample("no_entry")
    assert done.error.kind is ErrorKind.LOAD
    assert abi.entry in done.error.message


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(
    "code", [b"", b"#!/bin/sh\n", b'(module (func (export "_start")))'], ids=["empty", "script", "text format"]
)
def test_code_that_is_no_webassembly_is_refused(run, runtime, code):
    done = run(code, runtime=runtime)
    assert done.error.kind is ErrorKind.LOAD
    assert "not WebAssembly" in done.error.message


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_code_of_the_other_kind_is_refused(run, runtime, abi):
    done = run(abi.other_header, runtime=runtime)
    assert done.error.kind is ErrorKind.LOAD
    assert abi.other_hint in done.error.message
    assert "needs another runtime" in done.error.message or "'component'" in done.error.message


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_broken_code_is_refused(run, runtime, abi):
    done = run(abi.header + b"\xff\xff", runtime=runtime)
    assert done.error.kind is ErrorKind.LOAD
    assert "not valid" in done.error.message


@every("echo")
def test_guest_keeps_nothing_from_one_run_to_the_next(run_sample, abi):
    inputs = (abi.wrap(b"secret" * 10), abi.wrap(b"x"))
    assert tuple(run_sample("echo", given=given).output for given in inputs) == inputs


@every("trap")
def test_guest_that_failed_does_no_harm_to_the_next(run_sample, abi):
    for name in {"trap", "fail", "result_outside"} - set(abi.lacks):
        assert run_sample(name).error is not None
    assert run_sample("echo", given=abi.wrap(b"x")).output == abi.wrap(b"x")


@every("echo")
def test_usage_is_measured(run_sample, abi):
    usage = run_sample("echo", given=abi.wrap(b"x")).usage
    assert 0 < usage.wall_s < 5
    assert 0 < usage.cpu_s < 5
    if abi.shows_memory:
        assert 2 * 65_536 <= usage.memory_bytes <= abi.memory_bytes
    else:
        assert usage.memory_bytes is None
    assert usage.fuel is None


@every("echo")
def test_fuel_is_the_same_in_every_run_and_ends_a_guest_that_has_none_left(run_sample, abi):
    given = abi.wrap(b"abc")
    first, second = (run_sample("echo", given=given, seed=abi.seed, fuel=abi.fuel).usage.fuel for _ in range(2))
    assert 0 < first == second < abi.fuel
    assert run_sample("echo", given=given, seed=abi.seed, fuel=first).error is None
    starved = run_sample("echo", given=given, seed=abi.seed, fuel=first // 2)
    assert starved.error.kind is ErrorKind.FUEL
    assert str(first // 2) in starved.error.message
    assert starved.usage.fuel == first // 2


@every("tell")
def test_deterministic_runs_differ_only_by_seed(run_sample, abi):
    first, again, other = (run_sample("tell", seed=seed) for seed in (b"a", b"a", b"b"))
    assert first.error is None
    assert first.output == again.output != other.output
    assert first.usage.fuel == again.usage.fuel > 0
    assert abi.unwrap_told(first.output)[24:] == b"\0\0\xc0\x7f"


@every("tell")
def test_other_runs_differ_every_time(run_sample, abi):
    first, second = (abi.unwrap_told(run_sample("tell").output)[:24] for _ in range(2))
    assert first != second


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_default_recognises_the_module(run, runtime, build_guest, abi):
    given = abi.wrap(b"x")
    assert run(build_guest(f"{runtime}/echo"), runtime="default", given=given).output == given


def ask(run_sample, name, body=b"", **fields):
    """Run a sample as a job whose input is a request, and return what its output says beside the whole report."""
    request = Request("POST", "/a%20b?c=d", (("Content-Type", "text/plain"), ("X-Trace", "1")), body)
    done = run_sample(name, mode="http", given=write_request(request), **fields)
    return done, None if done.error else read_response(done.output)


@every("echo")
def test_request_is_answered_with_the_body_that_the_guest_makes(run_sample, abi):
    done, response = ask(run_sample, "echo", body=abi.wrap(b"snow"))
    assert done.error is None
    assert response == Response(200, (("Content-Type", abi.content_type),), abi.wrap(b"snow"))


@every("echo")
def test_request_without_a_body_is_answered(run_sample, abi):
    done = run_sample("echo", mode="http", given=b"")
    assert done.error is None
    assert read_response(done.output).body == abi.for_nothing


@every("fail")
def test_guest_that_says_that_it_failed_answers_with_500(run_sample, abi):
    done, response = ask(run_sample, "fail")
    assert (response.status, response.find_header("content-type")) == (500, "application/json")
    assert json.loads(response.body) == {"error": abi.failure, "kind": "guest"}
    assert done.log == abi.failure_log


@pytest.mark.slow
@every("loop")
def test_request_that_takes_too_long_fails_its_job(run_sample):
    check_timeout(lambda **limit: ask(run_sample, "loop", **limit)[0])


@every("flood_output")
def test_response_that_is_too_large_fails_its_job(run_sample):
    done, _ = ask(run_sample, "flood_output", output_bytes=3 * MIB)
    assert done.error.kind is ErrorKind.OUTPUT
    assert str(3 * MIB) in done.error.message


@every("echo")
def test_input_that_is_no_request_is_an_input_error(run_sample):
    done = run_sample("echo", mode="http", given=b"hello")
    assert done.error.kind is ErrorKind.INPUT
    assert "no HTTP request envelope" in done.error.message


@every("echo")
def test_missing_input_file_is_the_fault_of_the_node(run_sample):
    done = run_sample("echo", given=Path("/nowhere/at/all"))
    assert (done.error.kind, done.unfit) == (ErrorKind.WORKER, True)
