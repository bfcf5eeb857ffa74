"""What holds for every answer to a request, whatever the guest says."""

import json

import msgspec
import pytest

from piecework.protocol.codes import ErrorKind
from piecework.protocol.exchange import HEAD_BYTES, Request
from worker_agent.executor.desk import Turn
from worker_agent.executor.frames import Serving
from worker_agent.runtimes.stopping import StopSignal


@pytest.fixture
def serve(workbench, make_assign, build_text):
    """Return a function that has a guest, which always says the same, answer a request."""

    def serve_text(answer, **bounds):
        size = len(answer)
        text = "".join(f"\\{byte:02x}" for byte in answer)
        source = f"""(module
          (memory (export "memory") {size // 65_536 + 2}) (data (i32.const 1024) "{text}")
          (func (export "malloc") (param i32) (result i32) (i32.const 512))
          (func (export "callHandleHTTP") (param i32 i32) (result i64) (i64.const {(1024 << 32) + size})))"""
        task = make_assign(build_text(source), runtime="capsule", mode="http", **bounds)
        task = msgspec.structs.replace(task, serving=Serving(Request()))
        workbench.pulse.wake()
        return workbench.perform(Turn(task, StopSignal()))

    return serve_text


def say(**fields):
    return b"S" + json.dumps(fields).encode()


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
