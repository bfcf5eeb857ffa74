"""Components that answer HTTP, and send requests: wasi:http as a host has it."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from weakref import WeakSet

import msgspec
import pytest

from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import Grants
from piecework.worker_agent.guests.work.workbench import NO_RULES
from piecework.worker_agent.runtimes.component.http_types import OutBody, SentBody
from piecework.worker_agent.runtimes.component.io_calls import StreamError
from piecework.worker_agent.runtimes.services.access import NodeRules

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "samples/http/echo.wat").read_text()
FINISH = "(call $finish (local.get $body) (i32.const 0) (i32.const 0) (i32.const 0))"
SET = TEXT[TEXT.index("      (call $set (local") : TEXT.index("      (call $out-stream (local")]
ANSWER = "(local.set $answer (call $response (local.get $headers)))"


@pytest.fixture
def ask(run, build_text):
    """Return a function that has the sample answer a request, changed or not."""

    def ask_guest(change: tuple[str, str] = ("", ""), *, uri="/", body="", rules=NO_RULES, **fields):
        assert change[0] in TEXT
        request = msgspec.json.encode({"method": "POST", "uri": uri, "body": body})
        code = build_text(TEXT.replace(*change, 1))
        return run(code, rules, given=request, mode="http", runtime="component", **fields)

    return ask_guest


class Upstream(BaseHTTPRequestHandler):
    """Says where it was asked, and by which host's name."""

    def do_GET(self):
        said = f"{self.path} {self.headers['Host']}".encode()
        self.send_response(203)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_arguments):
        """Nobody reads it."""


@pytest.fixture(scope="module")
def upstream():
    with ThreadingHTTPServer(("127.0.0.1", 0), Upstream) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def read(done):
    assert done.error is None
    return msgspec.json.decode(done.output)


def test_handler_answers_a_job_with_a_request(ask):
    answer = read(ask(body="hello"))
    assert answer == {"status": 200, "headers": {"content-type": "text/plain"}, "body": "hello"}


@pytest.mark.parametrize("size", [0, 1, 4096, 70_000])
def test_bodies_pass_as_they_are(ask, size):
    body = "".join(chr(33 + place % 90) for place in range(size))
    assert read(ask(body=body))["body"] == body


def test_handler_without_a_request_gets_its_input_posted(run, build_text):
    done = run(build_text(TEXT), given=b"plain", runtime="default")
    assert (done.error, done.output) == (None, b"plain")


def test_status_of_a_job_without_a_request_decides(run, build_text):
    code = build_text(TEXT.replace("(local.set $code (i32.const 200))", "(local.set $code (i32.const 418))"))
    done = run(code, given=b"short and stout", runtime="component")
    assert done.error.kind is ErrorKind.GUEST
    assert done.error.message == "it answered with the status 418: short and stout"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((SET, ""), "it returned without a response"),
        ((FINISH, "(drop (i32.const 0))"), "it returned before it finished the body of its response"),
        ((FINISH, "(drop (i32.const 0))\n unreachable"), None),
    ],
)
def test_handler_that_gives_no_whole_response_fails(ask, change, reason):
    done = ask(change, body="x")
    if reason is None:
        assert done.error.kind is ErrorKind.TRAP
    else:
        answer = read(done)
        assert answer["status"] == 500
        assert msgspec.json.decode(answer["body"])["error"] == reason


def test_response_that_is_too_large_ends_its_guest(ask):
    assert ask(body="x" * 5000, output_bytes=4999).error.kind is ErrorKind.OUTPUT


@pytest.mark.slow
def test_handler_that_loops_is_stopped_at_its_time(ask):
    done = ask((FINISH, "(loop $ever (br $ever))"), timeout_s=0.1)
    assert done.error.kind is ErrorKind.TIMEOUT


def test_headers_of_the_host_are_not_the_guests_to_set(ask):
    done = ask(('"content-typetext/plain"', '"content-type\\00\\00\\00\\00/plain"'))
    assert read(done)["headers"] == {}


def test_too_many_handles_end_the_guest(ask):
    more = "(loop $more (drop (call $subscribe (local.get $future))) (br $more))"
    answer = read(ask(("(call $block (call $subscribe (local.get $future)))", more), uri="/fetch/a.test"))
    assert "more than 4096 resources" in msgspec.json.decode(answer["body"])["error"]


def test_too_many_headers_end_the_guest_also_in_messages(ask):
    more = f"(loop $more (drop (call $response (call $fields))) (br $more))\n{ANSWER}"
    answer = read(ask((ANSWER, more)))
    assert "headers for more than 128 messages" in msgspec.json.decode(answer["body"])["error"]


def test_responses_that_nobody_gets_take_from_the_same_output(ask):
    waste = """(loop $more
      (call $out-body (call $response (call $fields)) (i32.const 0))
      (call $out-stream (call $take (i32.const 0)) (i32.const 0))
      (call $write (call $take (i32.const 0)) (i32.const 65536) (i32.const 1000) (i32.const 16))
      (local.set $code (i32.add (local.get $code) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $code) (i32.const 210))))"""
    assert ask((ANSWER, waste + ANSWER), output_bytes=11_000).error is None
    assert ask((ANSWER, waste + ANSWER), output_bytes=9_000).error.kind is ErrorKind.OUTPUT


def test_requests_that_are_not_sent_have_no_more_room_together_than_they_may():
    all_of_them: WeakSet[OutBody] = WeakSet()
    first, second = SentBody(all_of_them, 10), SentBody(all_of_them, 10)
    first.write(b"x" * 6)
    with pytest.raises(StreamError):
        second.write(b"x" * 5)
    del first
    second.write(b"x" * 10)


def test_request_that_is_granted_is_sent(ask, upstream):
    port = upstream.partition(":")[2]
    rules = NodeRules(http=(f"*:{port}", "127.0.0.0/8"))
    answer = read(ask(uri=f"/fetch/{upstream}", rules=rules, grants=Grants(http=[upstream])))
    assert (answer["status"], answer["body"]) == (203, f"/ {upstream}")


@pytest.mark.parametrize(
    ("granted", "allowed", "said"),
    [
        ((), ("*:{port}", "127.0.0.0/8"), "the lambda has no grant for HTTP to 127.0.0.1:"),
        (("*:{port}",), (), "the operator of this node does not allow HTTP to 127.0.0.1:"),
        (("*:{port}",), ("*:{port}",), "is at 127.0.0.1, which is not public"),
    ],
)
def test_request_that_is_not_granted_is_denied(ask, upstream, granted, allowed, said):
    port = upstream.partition(":")[2]
    granted, allowed = ([each.format(port=port) for each in entries] for entries in (granted, allowed))
    done = ask(uri=f"/fetch/{upstream}", rules=NodeRules(http=tuple(allowed)), grants=Grants(http=granted))
    assert read(done)["status"] == 502
    assert said in done.log.decode()


def test_deterministic_handler_sends_nothing(ask, upstream):
    port = upstream.partition(":")[2]
    rules = NodeRules(http=(f"*:{port}", "127.0.0.0/8"))
    done = ask(uri=f"/fetch/{upstream}", rules=rules, grants=Grants(http=[f"*:{port}"]), seed=b"s")
    assert read(done)["status"] == 502
    assert "a deterministic lambda reaches nothing" in done.log.decode()
    assert done.usage.fuel > 0


def test_handlers_of_one_seed_use_the_same_fuel(ask):
    assert len({ask(body="abc", seed=b"s").usage.fuel for _ in range(2)}) == 1


def test_answer_that_nobody_waits_for_keeps_no_guest(ask, upstream):
    port = upstream.partition(":")[2]
    rules = NodeRules(http=(f"*:{port}", "127.0.0.0/8"))
    block = "(call $block (call $subscribe (local.get $future)))"
    done = ask((block, "(return (i32.const 0))"), uri=f"/fetch/{upstream}", rules=rules,
               grants=Grants(http=[f"*:{port}"]))  # fmt: skip
    assert read(done)["status"] == 502
