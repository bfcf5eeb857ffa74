"""Functions that cannot be started, callers that leave: what `worker-agent serve` makes of them."""

import hashlib
import os
import re
import signal
import socket

import pytest
from guest_texts import build
from patience import until
from served import ServedFunction

from piecework.local import ProgramError

pytestmark = pytest.mark.integration
PARTS = """(memory (export "memory") 1)
  (func (export "malloc") (param i32) (result i32) (i32.const 512))"""
WELL = f"""(module {PARTS} (data (i32.const 8) "Swell")
  (func (export "callHandle") (param i32 i32) (result i64) (i64.const {(8 << 32) + 5})))"""
LOOPS_WHEN_CALLED = f"""(module (import "env" "hostLogString" (func $log (param i32 i32))) {PARTS}
  (func (export "callHandle") (param $at i32) (param $size i32) (result i64)
    (if (local.get $size) (then (call $log (i32.const 9) (i32.const 4)) (loop $again (br $again))))
    (i64.const {(8 << 32) + 5}))
  (data (i32.const 8) "Swell"))"""
LOOPS_AT_ITS_START = f"""(module {PARTS} (func (export "_start") (loop $again (br $again)))
  (func (export "callHandle") (param i32 i32) (result i64) (i64.const 0)))"""


def store(folder, source):
    file = folder / "function.wasm"
    file.write_bytes(build(source))
    return file


def test_function_that_cannot_be_started_is_not_served(tmp_path):
    file = store(tmp_path, LOOPS_AT_ITS_START)
    with pytest.raises(ProgramError, match="does not start: it ran longer than its limit of 1 s"):
        ServedFunction(tmp_path, file, "--processes", "2", "--timeout", "1")


def test_reload_of_code_that_cannot_be_started_leaves_the_code_before(tmp_path):
    file = store(tmp_path, WELL)
    with ServedFunction(tmp_path, file, "--processes", "1", "--timeout", "1") as served:
        store(tmp_path, LOOPS_AT_ITS_START)
        os.kill(served.pid, signal.SIGHUP)
        served.wait_for_line(re.compile("not reloaded.*does not start"))
        assert served.ask().body == b"well"


def test_many_reloads_at_once_are_few(tmp_path):
    with ServedFunction(tmp_path, store(tmp_path, WELL), "--processes", "1") as served:
        for _ in range(30):
            os.kill(served.pid, signal.SIGHUP)
            # The system makes one of those that nobody has heard yet.
            served.ask("/stats")
        store(tmp_path, WELL.replace("well", "fine"))
        os.kill(served.pid, signal.SIGHUP)
        until(lambda: served.ask().body == b"fine")
        until(lambda: len(served.find_guests()) == 1)
        assert served.read_log().count("reloaded") < 10


def test_call_whose_caller_left_is_stopped_and_its_process_goes_on(tmp_path):
    options = ("--processes", "1", "--timeout", "60")
    with ServedFunction(tmp_path, store(tmp_path, LOOPS_WHEN_CALLED), *options) as served:
        before = served.find_guests()
        with socket.create_connection(("127.0.0.1", served.port)) as caller:
            caller.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
            served.wait_for_line(re.compile("^well$", re.MULTILINE))
        assert served.ask().body == b"well"
        assert served.find_guests() == before
        until(lambda: b'calls_total{status="499"} 1' in served.ask("/metrics").body)
        assert b'"errors":0' in served.ask("/stats").body


def test_function_whose_processes_cannot_start_any_more_says_that_it_is_not_well(tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    file, environ = store(tmp_path, WELL), {"TMPDIR": str(scratch)}
    with ServedFunction(tmp_path, file, "--processes", "1", environ=environ) as served:
        assert served.ask("/health").body == b"OK"
        [code] = scratch.glob(f"*/{hashlib.sha256(file.read_bytes()).hexdigest()}")
        code.write_bytes(b"damaged")
        for compiled in (tmp_path / "state").rglob("*.cwasm"):
            compiled.unlink()
        os.kill(served.find_guests()[0], signal.SIGKILL)
        until(lambda: served.ask("/health").status == 503)
        assert b"damaged" in served.ask("/health").body
        assert len(list(scratch.glob("*/*.stderr"))) <= 1


def test_connections_of_the_second_version_are_refused(tmp_path):
    """Those that say nothing would stay for ever, and a head could have 16 MB."""
    with (
        ServedFunction(tmp_path, store(tmp_path, WELL), "--processes", "1") as served,
        socket.create_connection(("127.0.0.1", served.port)) as caller,
    ):
        caller.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        # One who speaks it says first what he can do.
        assert caller.recv(100) == b""
