"""Functions served by `worker-agent serve`: real processes, good callers and bad ones."""

import json
import os
import signal
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
import trustme
from guest_texts import BY_BODY, build, read_guest
from patience import LONG_S, until
from served import ServedFunction

pytestmark = pytest.mark.integration
SAMPLES = Path(__file__).parents[2] / "samples"
CARELESS = """Content-Type: text/html
Content-Length: 3
Set-Cookie: a=1
Set-Cookie: b=2
Connection: close
X-Bad Name: x
X-Snow: \N{SNOWMAN}

<p>hello</p>"""


def store(folder, code):
    file = folder / "function.wasm"
    file.write_bytes(code)
    return file


@pytest.fixture(scope="module")
def capsule(tmp_path_factory):
    """A function of Capsule whose body says what it does."""
    folder = tmp_path_factory.mktemp("capsule")
    options = ("--processes", "2", "--timeout", "2", "--max-body", "1")
    with ServedFunction(folder, store(folder, build(BY_BODY)), *options) as served:
        yield served


@pytest.fixture(scope="module")
def g3(tmp_path_factory):
    """Capsule's third generation, which answers with the request that it got."""
    with ServedFunction(tmp_path_factory.mktemp("g3"), SAMPLES / "capsule_g3.wasm", "--processes", "2") as served:
        yield served


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"])
def test_any_method_and_path_reach_the_function(g3, method):
    response = g3.ask("/a%20b/../c;d=%C3%A9?q=1&r=%20", method, b"text", {"X-Trace": "7"})
    assert response.status == 200
    found, uri, headers, body = response.body.decode().split("\n")
    assert (found, uri, body) == (method, "/a%20b/../c;d=%C3%A9?q=1&r=%20", "text")
    assert "X-Trace:7" in headers.split("³")
    assert response.find_header("x-time") == "12:30"


def test_headers_of_one_name_all_arrive_and_those_of_the_connection_do_not(g3):
    with socket.create_connection(("127.0.0.1", g3.port), timeout=LONG_S) as link:
        link.sendall(
            b"GET /x HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-A: 2\r\n"
            b"TE: trailers\r\nKeep-Alive: 9\r\nConnection: close\r\n\r\n"
        )
        answer = b"".join(iter(lambda: link.recv(65_536), b""))
    assert b"X-A:1\xc2\xb3X-A:2" in answer
    assert b"Te:" not in answer
    assert b"Keep-Alive:" not in answer


def test_head_has_the_headers_and_no_body(g3):
    response = g3.ask("/x", "HEAD")
    assert (response.status, response.body) == (200, b"")
    assert int(response.find_header("content-length")) > 0


def test_binary_body_arrives_as_it_was_sent(tmp_path):
    body = bytes(range(256)) * 2000
    with ServedFunction(tmp_path, SAMPLES / "echo.wasm", "--processes", "1") as served:
        whole = served.ask("/", "POST", body)
        assert whole.body == body
        assert whole.find_header("content-type") == "application/octet-stream"
        in_pieces = served.ask("/", "POST", iter([body[:70_000], body[70_000:]]))
        assert in_pieces.body == body


def test_body_over_the_cap_is_refused_whatever_it_announces(capsule):
    large = b"x" * (1024 * 1024 + 1)
    assert capsule.ask("/", "POST", large).status == 413
    refused = capsule.ask("/", "POST", iter([large[:-1], b"x"]))
    assert refused.status == 413
    assert json.loads(refused.body) == {"error": "the body has more than 1048576 bytes, the most for a request"}
    # It reached the guest, which has no room for it.
    assert "lie outside" in json.loads(capsule.ask("/", "POST", large[:-1]).body)["error"]


def test_body_that_is_too_large_by_its_own_word_is_refused_before_it_comes(capsule):
    with socket.create_connection(("127.0.0.1", capsule.port), timeout=LONG_S) as link:
        link.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n")
        assert link.recv(100).startswith(b"HTTP/1.1 413 ")


def test_body_that_breaks_off_does_not_reach_the_function(capsule):
    with socket.create_connection(("127.0.0.1", capsule.port), timeout=LONG_S) as link:
        link.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nonly a half")
    until(lambda: b'calls_total{status="400"} 1\n' in capsule.ask("/metrics").body)
    assert "only a half" not in capsule.read_log()


def test_client_that_waits_for_a_word_before_its_body_gets_it(capsule):
    with socket.create_connection(("127.0.0.1", capsule.port), timeout=LONG_S) as link:
        link.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert link.recv(100).startswith(b"HTTP/1.1 100 ")
        link.sendall(b"hello")
        assert link.recv(100).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("head", [b"X: " + b"a" * 150_000, b"\r\n".join(b"X%d: a" % n for n in range(200))])
def test_huge_head_is_refused(capsule, head):
    with socket.create_connection(("127.0.0.1", capsule.port), timeout=LONG_S) as link:
        link.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n\r\n")
        assert link.recv(100).startswith(b"HTTP/1.1 431 ")
    assert capsule.ask().body == b"seen"


def test_broken_calls_get_a_reason_and_harm_nobody(capsule):
    trapped, looped = (capsule.ask("/", "POST", body) for body in (b"trap", b"loop"))
    assert trapped.status == 500
    assert json.loads(trapped.body)["kind"] == "trap"
    assert looped.status == 504
    assert json.loads(looped.body) == {"error": "it ran longer than its limit of 2 s", "kind": "timeout"}
    assert [capsule.ask("/", "POST", b"fine").body for _ in range(4)] == [b"seen"] * 4


def test_log_of_the_function_is_on_standard_output(capsule):
    capsule.ask("/", "POST", b"to be logged")
    until(lambda: "to be logged\n" in capsule.read_log())
    assert capsule.read_log().count("to be logged\n") == 1


def test_process_that_is_killed_costs_its_call_alone_and_is_replaced(capsule):
    until(lambda: len(capsule.find_guests()) == 2)
    old = capsule.find_guests()
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(capsule.ask, "/", "POST", b"wait") for _ in range(2)]
        until(lambda: capsule.read_log().count("wait\n") == 2)
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        answers = [call.result() for call in calls]
    assert [answer.status for answer in answers] == [500, 500]
    assert "SIGKILL" in json.loads(answers[0].body)["error"]
    assert capsule.ask().body == b"seen"
    until(lambda: len(capsule.find_guests()) == 2)
    assert not set(capsule.find_guests()) & set(old)


def test_process_that_is_killed_while_it_has_nothing_to_do_costs_nothing(capsule):
    until(lambda: len(capsule.find_guests()) == 2)
    for pid in capsule.find_guests():
        os.kill(pid, signal.SIGKILL)
    assert [capsule.ask().status for _ in range(3)] == [200] * 3


def test_call_that_a_process_did_not_begin_with_is_done_by_another(tmp_path):
    with ServedFunction(tmp_path, store(tmp_path, build(BY_BODY)), "--processes", "1", "--queue", "0") as served:
        [guest] = served.find_guests()
        os.kill(guest, signal.SIGSTOP)
        with ThreadPoolExecutor(2) as pool:
            calls = [pool.submit(served.ask, "/", "POST", b"once") for _ in range(2)]
            until(lambda: any(call.done() for call in calls))  # the other one was sent to the process
            os.kill(guest, signal.SIGKILL)
            assert sorted(call.result().status for call in calls) == [200, 503]
        until(lambda: "once\n" in served.read_log())
        assert served.read_log().count("once\n") == 1


def test_more_calls_than_may_wait_are_told_to_come_back(tmp_path):
    with ServedFunction(tmp_path, store(tmp_path, build(BY_BODY)), "--processes", "1", "--queue", "1") as served:
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _: served.ask("/", "POST", b"wait"), range(6)))
        assert sorted({answer.status for answer in answers}) == [200, 503]
        refused = next(answer for answer in answers if answer.status == 503)
        assert refused.find_header("retry-after") == "1"
        assert json.loads(served.ask("/stats").body)["errors"] == sum(a.status == 503 for a in answers)


def test_health_stats_and_metrics_are_told(g3):
    for _ in range(3):
        g3.ask("/x")
    assert g3.ask("/health").body == b"OK"
    stats = json.loads(g3.ask("/stats").body)
    assert stats["calls"] >= 3
    assert 0 < stats["p50_ms"] <= stats["p99_ms"]
    metrics = g3.ask("/metrics").body.decode()
    assert f'piecework_function_calls_total{{status="200"}} {stats["calls"]}\n' in metrics
    assert f"piecework_function_seconds_count {stats['calls']}\n" in metrics
    assert g3.ask("/health", "POST").body.startswith(b"POST\n/health")


def test_function_of_the_fourth_generation_says_itself_how_it_is(tmp_path):
    with ServedFunction(tmp_path, SAMPLES / "capsule_g4.wasm", "--processes", "1") as served:
        assert json.loads(served.ask("/health").body) == {"ok": True}
        response = served.ask("/x", "PUT", b'{"a": 1}')
        assert (response.status, json.loads(response.body)["Body"]) == (201, '{"a": 1}')


def test_keys_and_values_in_memory_are_the_same_in_all_processes(tmp_path):
    options = ("--handler", "text", "--processes", "3")
    with ServedFunction(tmp_path, SAMPLES / "capsule_g3.wasm", *options) as served:
        until(lambda: len(served.find_guests()) == 3)
        assert served.ask("/", "POST", b"memory-set colour blue").body == b"[OK](colour:blue)"
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _: served.ask("/", "POST", b"memory-get colour").body, range(30)))
        assert set(answers) == {b"blue"}
        assert b"capsule_version" in served.ask("/", "POST", b"memory-keys").body
        missing = served.ask("/", "POST", b"memory-get nothing")
        assert (missing.status, json.loads(missing.body)["error"]) == (500, "key does not exist")


def test_headers_that_a_guest_makes_up_do_no_harm(tmp_path):
    file = tmp_path / "a.js"
    file.write_text(f'import {{ out }} from "qjs:std"; out.puts({json.dumps(CARELESS)});')
    with ServedFunction(tmp_path, file, "--processes", "1") as served:
        response = served.ask()
    assert (response.status, response.body) == (200, b"<p>hello</p>")
    assert [value for name, value in response.headers if name == "set-cookie"] == ["a=1", "b=2"]
    assert response.find_header("content-length") == "12"
    assert not {"connection", "x-bad name"} & {name for name, _ in response.headers}


def test_function_that_came_out_of_a_pipe_survives_a_reload(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(pipe.write_bytes, build(BY_BODY))
        with ServedFunction(tmp_path, pipe) as served:
            written.result(10)
            assert served.ask(body=b"x", method="POST").body == b"seen"
            served.signal(signal.SIGHUP)
            until(lambda: "reloaded" in served.read_log())
            assert served.ask(body=b"x", method="POST").body == b"seen"


def test_reload_takes_good_code_and_leaves_bad_code_alone(tmp_path):
    file = store(tmp_path, (SAMPLES / "echo.wasm").read_bytes())
    with ServedFunction(tmp_path, file, "--processes", "1") as served:
        assert served.ask("/", "POST", b"abc").body == b"abc"
        file.write_bytes(b"<html>not found</html>")
        served.signal(signal.SIGHUP)
        until(lambda: "not reloaded" in served.read_log())
        assert "an HTML page" in served.read_log()
        assert served.ask("/", "POST", b"abc").body == b"abc"
        file.write_bytes((SAMPLES / "uppercase.wasm").read_bytes())
        served.signal(signal.SIGHUP)
        until(lambda: served.ask("/", "POST", b"abc").body == b"ABC")


def test_stop_lets_calls_end(tmp_path):
    with ServedFunction(tmp_path, store(tmp_path, build(BY_BODY)), "--processes", "1") as served:
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(served.ask, "/", "POST", b"wait")
            until(lambda: "wait\n" in served.read_log())
            served.signal(signal.SIGTERM)
            assert call.result().body == b"seen"
        assert served.read_log().count("wait\n") == 1
        assert served.wait(10) == 0
        assert served.find_guests() == []


def test_stop_leaves_a_request_that_never_ends(tmp_path):
    file = store(tmp_path, build(BY_BODY))
    with ServedFunction(tmp_path, file, "--timeout", "1", "--processes", "1") as served:
        with socket.create_connection(("127.0.0.1", served.port)) as caller:
            caller.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf")
            assert served.ask("/health").status == 200
            served.signal(signal.SIGTERM)
            assert served.wait(10) == 0
        assert served.find_guests() == []


def test_killed_server_leaves_nothing_behind(tmp_path):
    served = ServedFunction(tmp_path, SAMPLES / "echo.wasm", "--processes", "2")
    until(lambda: len(served.find_guests()) == 2)
    guests = served.find_guests()
    served.kill()

    def left() -> list[int]:
        return [pid for pid in guests if Path(f"/proc/{pid}/exe").exists()]

    until(lambda: not left())
    assert left() == []


def test_token_keeps_others_out_and_guests_do_not_see_it(tmp_path):
    environ = {"PIECEWORK_SERVE_TOKEN": "s3cret"}
    with ServedFunction(tmp_path, SAMPLES / "capsule_g3.wasm", "--processes", "1", environ=environ) as served:
        assert served.ask("/health").body == b"OK"
        assert [served.ask(path).status for path in ("/x", "/stats", "/metrics")] == [401] * 3
        assert served.ask("/x", headers={"Piecework-Replica-Token": "wrong"}).status == 421
        answer = served.ask("/x", headers={"Piecework-Replica-Token": "s3cret"})
        assert answer.status == 200
        assert b"s3cret" not in answer.body


def test_tls(tmp_path):
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    both = str(tmp_path / "both.pem")
    options = ("--processes", "1", "--crt", both, "--key", both)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with (
        ServedFunction(tmp_path, SAMPLES / "echo.wasm", *options) as served,
        socket.create_connection(("127.0.0.1", served.port), timeout=LONG_S) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as link,
    ):
        link.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc")
        assert b"".join(iter(lambda: link.recv(1000), b"")).endswith(b"abc")


@pytest.mark.parametrize("runtime", ["funless", "component", "micropython"])
def test_functions_of_every_kind_answer(tmp_path, runtime):
    if runtime == "micropython":
        code, body = b"import sys\nprint(sys.stdin.read().upper(), end='')", b"abc"
    else:
        code, body = build(read_guest(f"{runtime}/echo")), b'{"a": 1}'
    with ServedFunction(tmp_path, store(tmp_path, code), "--processes", "1", "--runtime", runtime) as served:
        assert served.ask("/", "POST", body).body == (b"ABC" if runtime == "micropython" else body)
        if runtime == "funless":
            assert msgspec.json.decode(served.ask("/?a=1").body) == {"a": "1"}
            assert served.ask("/", "POST", b"no json").status == 400
