"""Functions of FunLess, of both kinds, and what odd ones get."""

import socket
import threading
from pathlib import Path

import pytest

from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import Grants
from piecework.worker_agent.runtimes.services.access import NodeRules

SAMPLES = Path(__file__).parents[3] / "samples"
IMPORTS = """
  (import "fl_imps" "__get_input_data" (func $get (param i32)))
  (import "fl_imps" "__insert_response" (func $respond (param i32 i32)))
  (import "fl_imps" "__insert_error" (func $fail (param i32 i32)))
  (import "fl_imps" "__http_request" (func $request (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "[1]{}why not json")
"""
REQUEST = "(call $request (i32.const {}) (i32.const 512) (i32.const 508) (i32.const 0) {} {})".format(
    "{}", "(i32.const 5) (i32.const 3)", "(i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)"
)


@pytest.fixture
def invoke(run, build_text):
    """Return a function that runs the body of ``__invoke``."""

    def run_body(body, given=b"", data="", **fields):
        entry = f'(func (export "__invoke") (param i32) (result i32) {body})'
        return run(build_text(f"(module {IMPORTS} {data} {entry})"), runtime="funless", given=given, **fields)

    return run_body


def test_last_response_wins(invoke):
    done = invoke(
        "(call $respond (i32.const 0) (i32.const 3)) (call $respond (i32.const 3) (i32.const 2)) i32.const 0"
    )
    assert (done.error, done.output) == (None, b"{}")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("i32.const 0", "the function returned, but gave no response"),
        ("i32.const 1", "the function failed and does not say why"),
        ("i32.const -7", "__invoke returned -7; it must return 0 for a response or 1 for an error"),
        ("(call $fail (i32.const 5) (i32.const 3)) i32.const 1", "why"),
        ("(call $respond (i32.const 0) (i32.const 0)) i32.const 0", "output is not JSON: there is none"),
        ("(call $respond (i32.const 9) (i32.const 8)) i32.const 0", "the function's output is not JSON"),
        (
            "(i32.store16 (i32.const 1) (i32.const -2)) (call $respond (i32.const 0) (i32.const 3)) i32.const 0",
            "output is not JSON",
        ),
    ],
)
def test_answer_that_is_none_is_a_clear_error(invoke, body, message):
    done = invoke(body)
    assert done.error.kind is ErrorKind.GUEST
    assert message in done.error.message
    assert done.output == b""


def test_input_that_is_not_json_is_refused_before_the_guest_runs(invoke):
    done = invoke("unreachable", b"{'a': 1}")
    assert done.error.kind is ErrorKind.INPUT
    assert "not JSON" in done.error.message


@pytest.mark.parametrize("place", [1, -1 & 0xFFFFFFFF])
def test_failed_request_has_status_0_and_no_length(invoke, place):
    body = f"""(i32.store (i32.const 508) (i32.const 77)) (i32.store (i32.const 512) (i32.const 77))
      {REQUEST.format(place)}
      (if (i32.or (i32.load16_u (i32.const 508)) (i32.load (i32.const 512))) (then unreachable))
      (call $respond (i32.const 3) (i32.const 2)) i32.const 0"""
    done = invoke(body)
    assert (done.error, done.output) == (None, b"{}")
    assert b"HTTP request failed: 'why' must be a URL that starts with http:// or https://" in done.log


@pytest.mark.parametrize(
    ("place", "hint"),
    [
        (1, None),
        (100, None),
        (0, None),
        (509, "no room where the function wants it"),
        (512, "no room where the function wants it"),
        (65_530, "lie outside of the guest's memory"),
        (-1, "lie outside of the guest's memory"),
    ],
)
def test_response_is_put_where_the_function_has_room(invoke, place, hint):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b'HTTP/1.1 203 Fine\r\n\r\n"bo\xc3\xa9dy"')

        thread = threading.Thread(target=answer)
        thread.start()
        uri = f"http://127.0.0.1:{port}/"
        body = f"""(call $request (i32.const {place}) (i32.const 512) (i32.const 508) (i32.const 0)
            (i32.const 1024) (i32.const {len(uri)}) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
          (if (i32.ne (i32.load16_u (i32.const 508)) (i32.const 203)) (then unreachable))
          (call $respond (i32.const {place}) (i32.load (i32.const 512))) i32.const 0"""
        where = f"127.0.0.1:{port}"
        done = invoke(
            body,
            data=f'(data (i32.const 1024) "{uri}")',
            grants=Grants(http=[where]),
            rules=NodeRules(http=(where,)),
        )
        thread.join()
    if hint is None:
        assert (done.error, done.output.decode()) == (None, '"boédy"')
    else:
        assert hint in done.error.message


def test_request_without_a_grant_is_logged_as_denied(run):
    code = (SAMPLES / "funless_fetch.wasm").read_bytes()
    done = run(code, runtime="funless", given=b'"http://example.com/"', grants=Grants(http=["other.example"]))
    assert (done.error, done.output) == (None, b"0")
    assert b"HTTP request denied: the lambda has no grant for HTTP to example.com:80" in done.log


def test_function_from_before_0_8_is_a_command(run, build_guest):
    code = (SAMPLES / "funless_before.wasm").read_bytes()
    assert run(code, runtime="funless", given=b"[1, 2]").output == b'{"bytes": 6}\n'
    assert run(code, runtime="funless").output == b'{"bytes": 2}\n'
    assert run(code, runtime="funless", given=b"[").error.kind is ErrorKind.INPUT
    assert "it wrote more output" in run(code, runtime="funless", output_bytes=3).error.message
    assert run(build_guest("wasi/fail"), runtime="funless").error.message == "exit code 3: no luck"
    assert "not JSON" in run(build_guest("wasi/grow_table"), runtime="funless").error.message
