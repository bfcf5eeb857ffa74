"""What every runtime must do. A runtime's sample guests are in ``guests/{runtime}``, one for each behaviour."""

import os
from pathlib import Path

import pytest

from piecework.protocol.codes import ErrorKind
from worker_agent.runtimes import RUNTIMES

MIB = 1024 * 1024

pytestmark = pytest.mark.parametrize("runtime", RUNTIMES)


@pytest.fixture
def run_sample(run, runtime, build_guest):
    return lambda name, **fields: run(build_guest(f"{runtime}/{name}"), runtime=runtime, **fields)


@pytest.mark.parametrize(
    "given",
    [b"", b"x", bytes(range(256)) * 3, "snow ☃".encode(), b"\0" * 65_537],
    ids=["empty", "one byte", "binary", "utf-8", "zeros"],
)
def test_echo_returns_its_input(run_sample, given):
    done = run_sample("echo", given=given)
    assert (done.error, done.output, done.log) == (None, given, b"")


def test_echo_of_10_mb_from_a_file_comes_out_in_a_file(run_sample, tmp_path):
    given = os.urandom(10 * MIB)
    source = tmp_path / "input"
    source.write_bytes(given)
    done = run_sample("echo", given=source, key=7)
    assert done.error is None
    assert done.spooled
    assert (tmp_path / "7.out").read_bytes() == given


def test_input_may_be_left_unread(run_sample):
    done = run_sample("read_part", given=b"0123456789" * 100_000)
    assert (done.error, done.output) == (None, b"0123")


def test_failure_carries_the_code_and_the_last_words_and_no_output(run_sample, tmp_path):
    done = run_sample("fail")
    assert done.error.kind is ErrorKind.GUEST
    assert done.error.message == "exit code 3: no luck"
    assert (done.output, done.log) == (b"", b"no luck\n")


def test_trap_tells_its_cause_and_its_place(run_sample):
    done = run_sample("trap")
    assert done.error.kind is ErrorKind.TRAP
    assert "unreachable" in done.error.message
    assert [line.split()[0] for line in done.error.trace.splitlines()] == ["inner", "outer"]


@pytest.mark.parametrize("name", ["loop", "sleep"])
def test_guest_that_takes_too_long_is_stopped_at_its_limit(run_sample, name):
    done = run_sample(name, timeout_s=0.1)
    assert done.error.kind is ErrorKind.TIMEOUT
    assert done.error.message == "it ran longer than its limit of 0.1 s"
    assert 0.1 <= done.usage.wall_s < 1


def test_guest_that_eats_memory_is_stopped_at_its_limit(run_sample):
    done = run_sample("eat_memory", memory_bytes=20 * MIB)
    assert done.error.kind is ErrorKind.MEMORY
    assert str(20 * MIB) in done.error.message
    assert 18 * MIB < done.usage.memory_bytes <= 20 * MIB


def test_guest_that_writes_too_much_is_stopped_and_leaves_nothing(run_sample, tmp_path):
    done = run_sample("flood_output", output_bytes=3 * MIB)
    assert done.error.kind is ErrorKind.OUTPUT
    assert str(3 * MIB) in done.error.message
    assert (done.output, done.spooled) == (b"", False)
    assert list(tmp_path.iterdir()) == []


def test_log_keeps_the_newest_and_is_never_an_error(run_sample):
    done = run_sample("flood_log", log_bytes=100)
    assert done.error is None
    assert done.log == b"." * 92 + b"the end\n"
    assert done.log_offset == 1_000_008 - 100


def test_write_to_a_closed_output_is_refused(run_sample):
    done = run_sample("write_after_close")
    assert done.error.message == "exit code 8"


def test_unknown_import_is_named(run_sample):
    done = run_sample("unknown_import")
    assert done.error.kind is ErrorKind.LOAD
    assert "'summon'" in done.error.message
    assert "'env'" in done.error.message


def test_missing_entry_is_named(run_sample):
    done = run_sample("no_entry")
    assert done.error.kind is ErrorKind.LOAD
    assert "'_start'" in done.error.message


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (b"", "not WebAssembly"),
        (b"#!/bin/sh\n", "not WebAssembly"),
        (b'(module (func (export "_start")))', "not WebAssembly"),
        (b"\0asm\x0d\0\x01\0", "component"),
        (b"\0asm\x01\0\0\0\xff\xff", "not valid"),
    ],
    ids=["empty", "script", "text format", "component", "broken"],
)
def test_code_that_is_no_module_is_refused(run, runtime, code, hint):
    done = run(code, runtime=runtime)
    assert done.error.kind is ErrorKind.LOAD
    assert hint in done.error.message


def test_guest_keeps_nothing_from_one_run_to_the_next(run_sample):
    first, second = (run_sample("echo", given=given).output for given in (b"secret" * 10, b"x"))
    assert (first, second) == (b"secret" * 10, b"x")


def test_usage_is_measured(run_sample):
    usage = run_sample("echo", given=b"x").usage
    assert 0 < usage.wall_s < 5
    assert 0 < usage.cpu_s < 5
    assert usage.memory_bytes == 2 * 65_536
    assert usage.fuel is None


def test_fuel_is_the_same_in_every_run_and_ends_a_guest_that_has_none_left(run_sample):
    first, second = (run_sample("echo", given=b"abc", fuel=10_000).usage.fuel for _ in range(2))
    assert 0 < first == second < 10_000
    assert run_sample("echo", given=b"abc", fuel=first).error is None
    starved = run_sample("echo", given=b"abc", fuel=first // 2)
    assert starved.error.kind is ErrorKind.FUEL
    assert str(first // 2) in starved.error.message
    assert starved.usage.fuel == first // 2


def test_deterministic_runs_differ_only_by_seed(run_sample):
    first, again, other = (run_sample("tell", seed=seed) for seed in (b"a", b"a", b"b"))
    assert first.error is None
    assert first.output == again.output != other.output
    assert first.usage.fuel == again.usage.fuel > 0
    assert first.output[24:] == b"\0\0\xc0\x7f"


def test_other_runs_differ_every_time(run_sample):
    assert run_sample("tell").output[:24] != run_sample("tell").output[:24]


def test_default_recognises_the_module(run, runtime, build_guest):
    assert run(build_guest(f"{runtime}/echo"), runtime="default", given=b"x").output == b"x"


def test_missing_input_file_is_an_input_error(run_sample):
    done = run_sample("echo", given=Path("/nowhere/at/all"))
    assert done.error.kind is ErrorKind.INPUT
