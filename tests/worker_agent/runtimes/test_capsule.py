"""Functions of Capsule, all four generations: text, HTTP, the host's functions, and the traps of old guests."""

import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from piecework.http.exchange import Request
from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import Grants
from piecework.worker_agent.runtimes.base import Bounds, Build, Call, CodeFile
from piecework.worker_agent.runtimes.services.access import NodeRules
from piecework.worker_agent.runtimes.stopping import StopSignal
from piecework.worker_agent.runtimes.streams import LogTail, OutputSpool

SAMPLES = Path(__file__).parents[3] / "samples"
ALL, OLD = (1, 2, 3, 4), (1, 2, 3)
FILES, HTTP = Grants(files="write"), Grants(http=["127.0.0.1:80", "localhost:80"])


@pytest.fixture
def call(run):
    """Return a function that has a sample of a generation do something."""

    def call_sample(generation, text, **fields):
        code = (SAMPLES / f"capsule_g{generation}.wasm").read_bytes()
        return run(code, runtime="capsule", given=text if isinstance(text, bytes) else text.encode(), **fields)

    return call_sample


@pytest.fixture(scope="module")
def site():
    """Yield a web server's port, and what it was asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen.append((self.command, self.path, dict(self.headers), body))
            self.send_response(302 if self.path == "/away" else 200)
            self.send_header("Content-Type", "application/json")
            if self.path == "/away":
                self.send_header("Location", "http://169.254.169.254/secret")
            self.end_headers()
            self.wfile.write(b'{"hello": [1]}')

        do_POST = do_PUT = do_GET  # noqa: N815  # the names that the class looks for

        def log_message(self, *args):
            pass

    seen = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_port, seen
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def reach(site):
    """Return the grants and rules to reach the web server."""
    where = f"127.0.0.1:{site[0]}"
    return {"grants": Grants(http=[where]), "rules": NodeRules(http=(where,))}


@pytest.mark.parametrize("generation", OLD)
def test_ping_is_answered(call, generation):
    assert call(generation, "ping ça va").output.decode() == "🏓 pong: ça va : 1"


def test_talk_and_print_go_to_the_log(call):
    assert call(4, "talk hi").output.decode() == "Hello 😀 I'm the host"
    assert call(4, "print hi").log == b"hi\n"


@pytest.mark.parametrize("generation", ALL)
def test_log_is_the_jobs_log(call, generation):
    done = call(generation, "log one 🏓")
    assert (done.output, done.log.decode()) == (b"logged", "one 🏓\n")


@pytest.mark.parametrize("generation", ALL)
def test_environment_is_the_jobs(call, generation):
    assert call(generation, "env NAME", env={"NAME": "value"}).output == b"value"


@pytest.mark.parametrize("generation", OLD)
def test_variable_that_is_not_set_is_an_error(call, generation):
    done = call(generation, "env NAME")
    assert done.error.kind is ErrorKind.GUEST
    assert done.error.message.startswith("NAME is empty: hostGetEnv denied: the lambda has no variable NAME")


def test_variable_that_is_not_set_is_empty_in_the_fourth_generation(call):
    assert call(4, "env NAME").output == b""


def test_nodes_variables_are_given_only_when_both_agree(call):
    rules = NodeRules(env={"TOKEN": "abc", "OTHER": "x"})
    assert call(2, "env TOKEN", grants=Grants(env=["TOKEN"]), rules=rules).output == b"abc"
    assert call(2, "env OTHER", grants=Grants(env=["TOKEN"]), rules=rules).error.message == (
        "OTHER is empty: hostGetEnv denied: the lambda has no variable OTHER; "
        "--grant-env OTHER gives it the node's"
    )
    assert call(2, "env HOME", grants=Grants(env=["HOME"]), rules=rules).error.message == (
        "HOME is empty: variable HOME denied: the operator of this node does not allow it; "
        "worker-agent run --allow-env HOME would"
    )


@pytest.mark.parametrize(("generation", "separator"), [(1, "°"), (2, "²"), (3, "²"), (4, " ")])
def test_arguments_are_joined_before_the_input(call, generation, separator):
    done = call(generation, "hey", args=("log a", "b"))
    assert done.log.decode() == f"a{separator}b{separator}hey\n"


def test_error_with_a_code_shows_it(call):
    assert call(1, "dance").error.message == "there is no such command (7)"
    assert call(4, "dance").error.message == "there is no such command"


@pytest.mark.parametrize("generation", [2, 3])
def test_memory_store(call, generation):
    assert call(generation, "memory-set k v 1").output == b"[OK](k:v 1)"
    assert call(generation, "memory-get k").error.message == "key does not exist"
    assert call(generation, "memory-keys").output == b"capsule_version"
    assert call(generation, "memory-get capsule_version").output.startswith(b"0.")


def test_cache_starts_with_what_on_load_put_there(call):
    assert call(4, "cache-get loaded").output == b"yes"
    assert json.loads(call(4, "cache-keys *").output) == {"keys": ["capsule_version", "loaded"]}
    assert json.loads(call(4, "cache-keys l?a*").output) == {"keys": ["loaded"]}
    assert call(4, "cache-get x").error.message == "key not found"
    assert call(4, "cache-del loaded").output == b"loaded"


@pytest.mark.parametrize("generation", [2, 3])
def test_backends_that_no_node_has_are_linked_and_say_so(call, generation):
    assert "not configured" in call(generation, "nats-reply hi").error.message


def test_information_outside_of_serving_is_empty(call):
    assert call(2, "information").output == b"{}"


@pytest.mark.parametrize("generation", ALL)
def test_files_are_written_and_read_where_both_agree(call, generation, tmp_path):
    access = {"grants": FILES, "rules": NodeRules(folder=str(tmp_path / "shared"))}
    assert call(generation, "write a.txt some text", **access).output == b"file created"
    assert call(generation, "read a.txt", **access).output == b"some text"
    reading = {**access, "grants": Grants(files="read")}
    assert call(generation, "read ./a.txt", **reading).output == b"some text"
    assert "no grant for writing" in call(generation, "write b x", **reading).error.message


@pytest.mark.parametrize("generation", ALL)
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("read secret", "no grant for reading files"),
        ("redis-get k", "no grant for Redis"),
        ("redis-keys *", "no grant for Redis"),
    ],
)
def test_nothing_is_granted_by_default_and_the_log_says_so(call, generation, text, reason):
    done = call(generation, text)
    assert reason in done.error.message
    assert b" denied: the lambda has " in done.log


def test_node_denies_what_its_operator_does_not_allow(call):
    everything = Grants(http=["*"], redis=True, files="write")
    for text in ("read x", "redis-get k", "fetch GET http://example.com/"):
        assert "the operator of this node does not allow" in call(2, text, grants=everything).error.message


def test_deterministic_lambda_reaches_nothing(call, reach, site):
    done = call(2, f"fetch GET http://127.0.0.1:{site[0]}/", seed=b"s", **reach)
    assert "deterministic" in done.error.message


@pytest.mark.parametrize("generation", OLD)
def test_fetch_sends_headers_and_gives_back_the_body(call, reach, site, generation):
    port, seen = site
    assert call(generation, f"fetch PUT http://127.0.0.1:{port}/x?a=b data", **reach).output == b'{"hello": [1]}'
    method, path, headers, body = seen[-1]
    assert (method, path, body) == ("PUT", "/x?a=b", b"data")
    assert (headers["X-Sent"], headers["X-Second"]) == ("yes", "a:b")
    call(generation, f"fetch GET http://127.0.0.1:{port}/", **reach)
    assert seen[-1][3] == b""


def test_fetch_of_the_fourth_generation_is_json(call, reach, site):
    wanted = {"JSONBody": {"a": [1]}, "TextBody": "", "URI": f"http://127.0.0.1:{site[0]}/y", "Method": "POST"}
    done = call(4, f"fetch {json.dumps({**wanted, 'Headers': {'X-Sent': 'yes'}})}", **reach)
    answer = json.loads(done.output)
    assert (answer["JSONBody"], answer["StatusCode"]) == ({"hello": [1]}, 200)
    assert answer["Headers"]["Content-Type"] == ["application/json"]
    assert json.loads(site[1][-1][3]) == {"a": [1]}
    assert "not the JSON" in call(4, "fetch {", **reach).error.message


def test_redirect_to_a_place_without_grant_is_denied(call, reach, site):
    done = call(2, f"fetch GET http://127.0.0.1:{site[0]}/away", **reach)
    assert "no grant for HTTP to 169.254.169.254:80" in done.error.message
    assert b"hostHttp denied" in done.log


def envelope(**fields):
    return json.dumps(fields).encode()


@pytest.mark.parametrize("generation", OLD)
def test_http_request_becomes_a_response(call, generation):
    request = envelope(method="POST", uri="/a?b=c", headers={"A": "x:y|z", "B": "2"}, body="[HEADERS]text 🏓")
    done = call(generation, request, mode="http")
    response = json.loads(done.output)
    assert response["status"] == 200
    assert response["headers"] == {"Content-Type": "text/plain; charset=utf-8", "X-Time": "12:30"}
    method, uri, headers, body = response["body"].split("\n")
    separator = "|²³"[generation - 1]
    assert headers.split(separator) == ["A:x:y,z" if generation == 1 else "A:x:y|z", "B:2"]
    assert (method, uri) == (("?", "?") if generation == 1 else ("POST", "/a?b=c"))
    assert body == "[HEADERS]text 🏓"


@pytest.mark.parametrize("generation", OLD)
def test_request_without_headers_gets_one_for_old_guests_trap_on_none(call, generation):
    assert "Accept:*/*" in json.loads(call(generation, b"", mode="http").output)["body"]


@pytest.mark.parametrize("generation", OLD)
def test_error_of_a_handler_is_a_response_with_status_500(call, generation):
    response = json.loads(call(generation, envelope(body="!"), mode="http").output)
    assert response["status"] == 500
    assert json.loads(response["body"]) == {"error": "refused", "from": "host"}


def test_http_of_the_fourth_generation(call):
    request = envelope(method="PUT", uri="/x", headers={"A": '"quoted"'}, body='{"a": 1}')
    response = json.loads(call(4, request, mode="http").output)
    assert (response["status"], response["headers"]) == (201, {"Content-Type": "application/json"})
    seen = json.loads(response["body"])
    assert (seen["Body"], seen["URI"], seen["Method"]) == ('{"a": 1}', "/x", "PUT")
    assert seen["Headers"] == '"A":"\\"quoted\\""'


def test_json_handler_is_called_in_its_mode(call):
    assert json.loads(call(4, "[1]", mode="json").output) == {"got": [1]}


@pytest.mark.parametrize(
    ("generation", "given", "hint"),
    [
        (2, b"[]", "no HTTP request envelope"),
        (2, envelope(body="a", base64="eA=="), "both `body` and `base64`"),
        (2, envelope(base64="?"), "no HTTP request envelope"),
        (3, envelope(body="a²b"), "contains ²"),
        (4, envelope(base64="/w=="), "not UTF-8"),
    ],
)
def test_request_that_cannot_be_passed_is_an_input_error(call, generation, given, hint):
    done = call(generation, given, mode="http")
    assert done.error.kind is ErrorKind.INPUT
    assert hint in done.error.message


PARTS = """
  (memory (export "memory") 1)
  (func (export "malloc") (param i32) (result i32) (i32.const 4096))
  (func (export "allocateBuffer") (param i32) (result i32)
    (if (i32.eqz (local.get 0)) (then unreachable)) {room})
"""
HANDLER = '(func (export "callHandle") (param i32 i32) (result i64) {does})'


def make(does, *, imports="", room="(i32.const 8192)", parts=PARTS):
    return f"(module {imports} {parts.replace('{room}', room)} {HANDLER.replace('{does}', does)})"


GET_ENV = '(import "env" "hostGetEnv" (func $env (param i32 i32 i32 i32)))'
KEYS = '(import "env" "hostRedisKeys" (func $keys (param i32 i32 i32 i32) (result i32)))'


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        (make("(call $env (i32.const -1) (i32.const 9) (i32.const 0) (i32.const 4)) i64.const 0", imports=GET_ENV),
         "in hostGetEnv: 9 bytes at 4294967295 lie outside"),
        (make("(call $env (i32.const 0) (i32.const 1) (i32.const -4) (i32.const 4)) i64.const 0", imports=GET_ENV,
              room="(i32.const 8192)"), "in hostGetEnv: 4 bytes at 4294967292 lie outside"),
        (make("(call $env (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 4)) i64.const 0", imports=GET_ENV,
              room="(call $env (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 4)) i32.const 1"),
         "it called hostGetEnv while it made room"),
        (make("(drop (call $keys (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 4))) i64.const 0",
              imports=KEYS, room="(i32.const 0)"), "no room for the"),
        (make("(i64.const 0)"), "starts with b'', not with S or F"),
        (make("(i64.const 0)", parts=PARTS.replace("4096", "0")), "no room for an argument"),
        (make("(i64.const 0)", parts=PARTS.replace("4096", "-1")), "bytes at 4294967295 lie outside"),
    ],
)  # fmt: skip
def test_guest_that_breaks_the_rules_is_told_how(run, build_text, source, hint):
    done = run(build_text(source), runtime="capsule", given=b"text")
    assert done.error.kind is not ErrorKind.LOAD
    assert hint in done.error.message


def test_empty_answer_is_put_without_asking_for_no_room(run, build_text):
    # The value is empty, size 0: allocateBuffer(0) would trap.
    does = """(call $env (i32.const 0) (i32.const 0) (i32.const 16) (i32.const 20))
      (if (i32.load (i32.const 20)) (then unreachable))
      (i32.store8 (i32.const 64) (i32.const 83)) (i64.const 0x4000000001)"""
    done = run(build_text(make(does, imports=GET_ENV)), runtime="capsule", given=b"x")
    assert (done.error, done.output) == (None, b"")


@pytest.mark.slow
def test_start_function_that_loops_is_stopped(run, build_text):
    source = make("(i64.const 0)", parts=PARTS + '(func (export "_start") (loop $again (br $again)))')
    assert run(build_text(source), runtime="capsule", timeout_s=0.05).error.kind is ErrorKind.TIMEOUT


def test_start_function_may_exit_well_and_is_still_called(run, build_text):
    imports = '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'
    start = '(data (i32.const 64) "Syes") (func (export "_start") (call $exit (i32.const {})))'
    for code, wanted in ((0, (None, b"yes")), (3, ("exit code 3", b""))):
        source = make("(i64.const 0x4000000004)", imports=imports, parts=PARTS + start.replace("{}", str(code)))
        done = run(build_text(source), runtime="capsule")
        assert (done.error and done.error.message, done.output) == wanted


def test_module_without_a_handler_of_requests_answers_them_with_its_handler_of_texts(run, build_text):
    does = """(i32.store8 (i32.const 63) (i32.const 83)) (memory.copy (i32.const 64) (local.get 0) (local.get 1))
      (i64.add (i64.const 0x3F00000001) (i64.extend_i32_u (local.get 1)))"""
    done = run(build_text(make(does)), runtime="capsule", mode="http", given=envelope(method="POST", body="hi"))
    assert json.loads(done.output) == {
        "status": 200,
        "headers": {"Content-Type": "text/plain; charset=utf-8"},
        "body": "hi",
    }


def test_handler_that_is_not_there_is_named(run, build_text):
    source = make("(i64.const 0)").replace("callHandle", "callHandleHTTP")
    done = run(build_text(source), runtime="capsule")
    assert done.error.kind is ErrorKind.LOAD
    assert "'callHandle'" in done.error.message


@pytest.mark.parametrize("mode", ["json", "http"])
def test_handler_of_json_gets_a_query_as_an_object(workbench, store_code, mode):
    """The sample has a handler of requests, too: only the mode ``json`` passes it by."""
    code = (SAMPLES / "capsule_g4.wasm").read_bytes()
    program = workbench._library.load("capsule", CodeFile(*store_code(code)), Build())
    call = Call(io.BytesIO(), OutputSpool(0, ""), LogTail(100), StopSignal(), Bounds(), mode=mode)
    outcome, response = program.answer(call, Request(uri="/?a=1&b="))
    assert outcome.error is None
    assert response.find_header("content-type") == "application/json"
    wanted = {"got": {"a": "1", "b": ""}} if mode == "json" else "/?a=1&b="
    assert (json.loads(response.body) if mode == "json" else json.loads(response.body)["URI"]) == wanted
