"""What holds for every answer to a request, whatever the guest says."""

import json

import msgspec
import pytest
from abis import ABIS

from piecework.http.exchange import HEAD_BYTES, Request
from piecework.protocol.codes import ErrorKind
from piecework.worker_agent.guests.frames import Serving
from piecework.worker_agent.runtimes.scripting.interpreters import KNOWN

SCRIPTED = {each.name for each in KNOWN}


@pytest.fixture
def perform_serving(perform, make_assign):
    """Return a function that has a guest do something for a function that is served."""

    def perform_for(code, serving, **fields):
        return perform(msgspec.structs.replace(make_assign(code, **fields), serving=serving))

    return perform_for


@pytest.fixture
def rehearse(perform_serving):
    """Return a function that has the start of a guest rehearsed."""

    def rehearse_start(code, runtime="capsule", **fields):
        return perform_serving(code, Serving(), runtime=runtime, **fields)

    return rehearse_start


@pytest.fixture
def serve(perform_serving, build_text):
    """Return a function that has a guest, which always says the same, answer a request."""

    def serve_text(answer, **bounds):
        size = len(answer)
        text = "".join(f"\\{byte:02x}" for byte in answer)
        source = f"""(module
          (memory (export "memory") {size // 65_536 + 2}) (data (i32.const 1024) "{text}")
          (func (export "malloc") (param i32) (result i32) (i32.const 512))
          (func (export "callHandleHTTP") (param i32 i32) (result i64) (i64.const {(1024 << 32) + size})))"""
        return perform_serving(build_text(source), Serving(Request()), runtime="capsule", mode="http", **bounds)

    return serve_text


def say(**fields):
    return b"S" + json.dumps(fields).encode()


@pytest.mark.slow
def test_headers_without_end_are_refused_and_never_reach_a_server(serve):
    done = serve(say(Headers={f"X-{number}": "a" for number in range(20_000)}))
    assert (done.response.status, done.response.headers) == (500, (("Content-Type", "application/json"),))
    assert f"must not have more than {HEAD_BYTES}" in json.loads(done.response.body)["error"]


def test_headers_that_callers_can_take_are_sent(serve):
    assert len(serve(say(Headers={f"X-{number}": "a" for number in range(100)})).response.headers) == 100


def test_body_above_the_limit_is_the_end_of_the_call(serve):
    # Base64 and what else stands around a body may be more than it.
    done = serve(say(JSONBody="x" * 2000), output_bytes=1000)
    assert (done.error.kind, done.response.status) == (ErrorKind.OUTPUT, 500)


@pytest.mark.parametrize(
    "runtime",
    [
        pytest.param(
            each, marks=[pytest.mark.integration] if each in SCRIPTED else []
        )  # those take long to compile
        for each in sorted({*ABIS} - {"lua5.4"})
    ],
)
def test_rehearsal_starts_the_guest_and_does_nothing(rehearse, build_guest, runtime):
    done = rehearse(build_guest(f"{runtime}/fail"), runtime)
    assert (done.error, done.output, done.log) == (None, b"", b"")


def test_rehearsal_of_an_old_function_needs_no_answer(rehearse, build_text):
    assert (
        rehearse(build_text('(module (memory (export "memory") 1) (func (export "_start")))'), "funless").error
        is None
    )


FUNCTION = """(module {imports} (memory (export "memory") 2) {start}
  (func (export "malloc") (param i32) (result i32) (i32.const 512))
  (func (export "callHandleHTTP") (param i32 i32) (result i64) unreachable))"""
LOOP = "(loop $again (br $again))"
EXIT = '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (f"(func $s {LOOP}) (start $s)", ErrorKind.TIMEOUT),
        (f'(func (export "_start") {LOOP})', ErrorKind.TIMEOUT),
        (f'(func (export "_initialize") {LOOP})', ErrorKind.TIMEOUT),
        (f'(func (export "OnLoad") {LOOP})', ErrorKind.TIMEOUT),
        (f'(func (export "OnStop") {LOOP})', ErrorKind.TIMEOUT),
        ('(func (export "_start") unreachable)', ErrorKind.TRAP),
        ('(func (export "_start") (call $exit (i32.const 3)))', ErrorKind.GUEST),
        ('(func (export "_start") (call $exit (i32.const 0)))', None),
        ('(data (i32.const 131072) "x")', ErrorKind.LOAD),
    ],
)
def test_function_that_cannot_be_started_is_told_before_somebody_calls_it(rehearse, build_text, start, kind):
    code = build_text(FUNCTION.format(imports=EXIT, start=start))
    done = rehearse(code, mode="http", timeout_s=0.05 if kind is ErrorKind.TIMEOUT else 10.0)
    assert (done.error and done.error.kind) == kind


def test_function_that_wants_more_memory_than_its_calls_get_is_told(rehearse, build_text):
    code = build_text(FUNCTION.format(imports="", start=""))
    assert rehearse(code, mode="http", memory_bytes=65_536).error.kind is ErrorKind.LOAD


def test_handler_that_is_not_there_is_told_before_somebody_calls_it(rehearse, build_text):
    done = rehearse(build_text(FUNCTION.format(imports="", start="")), mode="text")
    assert done.error.kind is ErrorKind.LOAD
    assert "'callHandle'" in done.error.message
