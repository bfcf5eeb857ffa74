"""Components: what the list of conformance does not ask, and what odd ones get."""

import pytest
from abis import MIB

from piecework.protocol.codes import ErrorKind
from piecework.worker_agent.runtimes.linkage import TABLES


@pytest.fixture
def run_guest(run, build_guest):
    return lambda name, **fields: run(build_guest(f"component/{name}"), runtime="component", **fields)


def make_component(body, imports="", lower=""):
    """Return a command whose only function does this."""
    return f"""
    (component
      {imports}
      (core module $room
        (memory (export "memory") 2)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0)))
      (core instance $room (instantiate $room))
      (alias core export $room "memory" (core memory $memory))
      (alias core export $room "realloc" (core func $realloc))
      {lower}
      {body}
      (func $run (result (result)) (canon lift (core func $main "run")))
      (instance $cli (export "run" (func $run)))
      (export "wasi:cli/run@0.2.3" (instance $cli)))
    """


QUIET = """
  (core module $quiet (func (export "run") (result i32) (i32.const 0)))
  (core instance $main (instantiate $quiet))
"""


def test_guest_may_end_itself_from_within_a_call(run_guest):
    done = run_guest("exit")
    assert (done.error.kind, done.error.message) == (ErrorKind.GUEST, "exit code 1")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("point_outside", "out of bounds"),
        ("point_negative", "out of bounds"),
        ("write_after_drop", "unknown handle"),
    ],
)
def test_wrong_use_of_the_host_is_a_trap_that_says_why(run_guest, name, reason):
    done = run_guest(name)
    assert done.error.kind is ErrorKind.TRAP
    assert reason in done.error.message
    assert done.output == b""


def test_components_of_every_patch_release_run(run, build_text):
    assert run(build_text(make_component(QUIET)), runtime="component").error is None


@pytest.mark.parametrize("interface", ["wasi:cli/stdin@0.3.0", "wasi:http/types@0.3.0-rc"])
def test_interface_of_a_later_release_is_named(run, build_text, interface):
    code = build_text(make_component(QUIET, imports=f'(import "{interface}" (instance))'))
    done = run(code, runtime="component")
    assert done.error.kind is ErrorKind.LOAD
    assert f"{interface!r}, which is WASI 0.3" in done.error.message


CALLS_OWN = """
  (core func $do (canon lower (func $own "do")))
  (core instance $host (export "do" (func $do)))
  (core module $calls (import "host" "do" (func $do)) (func (export "run") (result i32) {call} (i32.const 0)))
  (core instance $main (instantiate $calls (with "host" (instance $host))))
"""


@pytest.mark.parametrize("more", ["", '(import "wasi:http/types@0.2.0" (instance))'])
def test_interface_that_nobody_has_is_missed_when_called(run, build_text, more):
    imports = f'(import "example:own/thing@0.2.0" (instance $own (export "do" (func)))) {more}'
    quiet, calling = (
        build_text(make_component(CALLS_OWN.format(call=call), imports=imports)) for call in ("", "(call $do)")
    )
    assert run(quiet, runtime="component").error is None
    done = run(calling, runtime="component")
    assert done.error.kind is ErrorKind.TRAP
    assert "example:own/thing@0.2.0#do" in done.error.message


def test_entry_that_is_no_such_function_is_refused(run, build_text):
    text = make_component(QUIET).replace("(func $run (result (result))", "(func $run (result u32)")
    done = run(build_text(text), runtime="component")
    assert done.error.kind is ErrorKind.LOAD
    assert "'run'" in done.error.message


def test_interface_without_its_function_is_refused(run, build_text):
    text = make_component(QUIET).replace('(instance $cli (export "run"', '(instance $cli (export "walk"')
    done = run(build_text(text), runtime="component")
    assert done.error.kind is ErrorKind.LOAD
    assert "without the function 'run'" in done.error.message


def test_two_memories_are_refused_for_the_limit_holds_for_each(run, build_text):
    second = "(core module $more (memory 1)) (core instance (instantiate $more))"
    done = run(build_text(make_component(second + QUIET)), runtime="component")
    assert done.error.kind is ErrorKind.LOAD
    assert "memory count too high" in done.error.message


def test_more_tables_than_allowed_are_refused(run, build_text):
    many = f"(core module $more {'(table 1 funcref)' * (TABLES + 1)}) (core instance (instantiate $more))"
    done = run(build_text(make_component(many + QUIET)), runtime="component")
    assert done.error.kind is ErrorKind.LOAD
    assert "table count too high" in done.error.message


def test_memory_that_is_too_large_from_the_start_is_refused(run, build_text):
    done = run(build_text(make_component(QUIET)), runtime="component", memory_bytes=65_536)
    assert done.error.kind is ErrorKind.LOAD
    assert "needs 131072 bytes, limit 65536 bytes" in done.error.message


def ask_random(size):
    return make_component(
        f"""
        (core module $asks
          (import "host" "get" (func $get (param i64 i32)))
          (func (export "run") (result i32) (call $get (i64.const {size}) (i32.const 65536)) (i32.const 0)))
        (core instance $main (instantiate $asks (with "host" (instance (export "get" (func $get))))))
        """,
        imports='(import "wasi:random/random@0.2.0" (instance $random '
        '(export "get-random-bytes" (func (param "len" u64) (result (list u8))))))',
        lower='(core func $get (canon lower (func $random "get-random-bytes") '
        "(memory $memory) (realloc $realloc)))",
    )


def test_host_takes_no_memory_for_what_a_guest_only_asks_for(run, build_text):
    assert run(build_text(ask_random(16)), runtime="component").error is None
    done = run(build_text(ask_random(3_000_000_000)), runtime="component")
    assert done.error.kind is ErrorKind.TRAP
    assert "exceeds limit" in done.error.message


def test_deterministic_command_runs_under_our_own_host(run_guest):
    first, second = (run_guest("echo", given=b"x" * 10_000, seed=b"a") for _ in range(2))
    assert first.error is None
    assert first.output == b"x" * 10_000
    assert first.usage.fuel == second.usage.fuel


TWO_TIMERS = """
(component
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $wait (sub resource)))
    (export "poll" (func (param "in" (list (borrow $wait))) (result (list u32))))))
  (alias export $poll "pollable" (type $wait))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $wait (type $outer)) (export "pollable" (type $mine (eq $outer)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $mine))))))
  (core module $room (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $room (instantiate $room))
  (alias core export $room "memory" (core memory $memory))
  (alias core export $room "realloc" (core func $realloc))
  (core func $poll (canon lower (func $poll "poll") (memory $memory) (realloc $realloc)))
  (core func $timer (canon lower (func $clock "subscribe-duration")))
  (core module $main
    (import "host" "memory" (memory 1))
    (import "host" "poll" (func $poll (param i32 i32 i32)))
    (import "host" "timer" (func $timer (param i64) (result i32)))
    (func (export "run") (result i32)
      (i32.store (i32.const 0) (call $timer (i64.const 60000000000)))
      (i32.store (i32.const 4) (call $timer (i64.const 1000000)))
      (call $poll (i32.const 0) (i32.const 2) (i32.const 16))
      ;; Only the second is ready.
      (i32.or (i32.ne (i32.load (i32.const 20)) (i32.const 1))
        (i32.ne (i32.load (i32.load (i32.const 16))) (i32.const 1)))))
  (core instance $main (instantiate $main (with "host" (instance
    (export "memory" (memory $memory)) (export "poll" (func $poll)) (export "timer" (func $timer))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $cli)))
"""


def test_guest_waits_for_two_things_at_once(run, build_text):
    """It lends the host two resources in one call, for which some releases of wasmtime end it."""
    assert run(build_text(TWO_TIMERS), runtime="component", seed=b"a").error is None


@pytest.mark.slow
def test_command_that_sleeps_under_our_own_host_hears_of_its_end(run_guest):
    assert run_guest("sleep_in_host", seed=b"a", timeout_s=0.1).error.kind is ErrorKind.TIMEOUT


def test_deterministic_lambda_without_clock_runs(run, build_text):
    done = run(build_text(make_component(QUIET)), runtime="component", seed=b"a")
    assert done.error is None
    assert done.usage.fuel > 0


@pytest.mark.parametrize(
    ("body", "known"),
    [("unreachable", True), ("(i32.div_u (i32.const 1) (local.get $z))", False), ("(i32.const 1)", True)],
)
def test_fuel_is_told_unless_the_end_loses_count(run, build_text, body, known):
    text = f"""
      (core module $ends (func (export "run") (result i32) (local $z i32) {body}))
      (core instance $main (instantiate $ends))
    """
    done = run(build_text(make_component(text)), runtime="component", fuel=1000)
    assert done.error is not None
    assert (done.usage.fuel is not None) is known


def test_fuel_is_left_out_where_too_much_output_ends_the_guest(run_guest):
    done = run_guest("flood_output", fuel=10**9, output_bytes=1000)
    assert done.error.kind is ErrorKind.OUTPUT
    assert done.usage.fuel is None


def test_output_that_is_just_not_too_much_is_taken(run_guest, tmp_path):
    given = b"x" * MIB
    assert run_guest("echo", given=given, output_bytes=MIB).output == given
    assert run_guest("echo", given=given, output_bytes=MIB - 1).error.kind is ErrorKind.OUTPUT


def test_input_in_a_file_is_read_from_its_start_in_every_run(run_guest, tmp_path):
    path = tmp_path / "input"
    path.write_bytes(b"abc")
    assert [run_guest("echo", given=path).output for _ in range(2)] == [b"abc", b"abc"]
