"""The server as a process: starting, stopping, being killed, and who gets in."""

import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import requests
from evidence import process_tree
from postgres import Cluster

from piecework.local import ChildProgram, LocalServer

pytestmark = pytest.mark.integration
POLLS = 1000
PATIENCE_S = 60.0
SOON_S = 30.0
"""For what takes a second on a machine of its own."""


def _wait_until(condition, what: str) -> None:
    until, pause = time.monotonic() + PATIENCE_S, threading.Event()
    while not condition():
        assert time.monotonic() < until, what
        pause.wait(0.02)


def _figure(server: LocalServer, name: str) -> float:
    text = requests.get(f"{server.url}/metrics", timeout=PATIENCE_S).text
    return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)[1])


def _waiting(server: LocalServer) -> float:
    return _figure(server, 'piecework_waiting_requests{for="contract"}')


def _create_lambda(server: LocalServer) -> str:
    code = {"codex": "0", "runtime": "wasi"}
    return str(requests.post(f"{server.url}/lambda", json=code, timeout=PATIENCE_S).json()["id"])


def _run(*words: object, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "piecework", "server", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=os.environ | environ, check=False
    )


@pytest.fixture
def parked(server: LocalServer) -> Iterator[list[socket.socket]]:
    """Contracts that wait, each over a connection of its own."""
    worker = requests.post(f"{server.url}/worker", json={"runtime": ["wasi"]}, timeout=PATIENCE_S).json()["id"]
    body = b'{"timeout": 25}'
    request = f"POST /worker/{worker}/contract HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(POLLS)]
        for each in sockets:
            each.settimeout(PATIENCE_S)
            each.sendall(request.encode() + body)
        _wait_until(lambda: _waiting(server) == POLLS, "not all polls were parked")
        yield sockets


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalServer]:
    with LocalServer(tmp_path) as server:
        yield server


def test_short_requests_are_quick_while_a_thousand_polls_wait(server: LocalServer, parked: list[socket.socket]):
    times = []
    with requests.Session() as session:
        for _ in range(100):
            start = time.perf_counter()
            assert session.get(f"{server.url}/sys/runt/stat", timeout=PATIENCE_S).ok
            times.append(time.perf_counter() - start)
    assert sorted(times)[50] < 1
    assert _waiting(server) == POLLS


def test_a_stop_answers_a_thousand_waiting_polls_at_once(server: LocalServer, parked: list[socket.socket]):
    start = time.monotonic()
    server.signal(signal.SIGTERM)
    assert server.wait(PATIENCE_S) == 0
    took_s = time.monotonic() - start
    answers = [each.recv(65536) for each in parked]
    assert all(answer.startswith(b"HTTP/1.1 503 ") and b'"code":13' in answer for answer in answers)
    assert took_s < 20, "a poll that nobody ends waits for 24 s"
    assert "Traceback" not in server.read_log()


def test_callers_that_hang_up_wait_no_longer(server: LocalServer):
    waiting = partial(_figure, server, 'piecework_waiting_requests{for="job"}')
    body = {"lambda": _create_lambda(server)}
    job = requests.post(f"{server.url}/job", json=body | {"status": "paused"}, timeout=PATIENCE_S).json()["id"]
    request = f"GET /job/{job}?except=Finished&timeout=300 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with ExitStack() as stay, ExitStack() as leave:
        for number in range(50):
            stack = leave if number % 2 else stay
            caller = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            caller.sendall(request.encode())
        _wait_until(lambda: waiting() == 50, "not all wait")
        leave.close()
        _wait_until(lambda: waiting() <= 25, "who has no connection still waits, and would for 300 s")
        assert waiting() == 25, "somebody waits no longer who is still there"
    _wait_until(lambda: waiting() == 0, "not all ended")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_lets_a_request_under_way_end(server: LocalServer, number: signal.Signals):
    def body() -> Iterator[bytes]:
        yield b"first half, "
        started.set()
        assert stopping.wait(PATIENCE_S)
        yield b"second half"

    started, stopping = threading.Event(), threading.Event()
    headers = {"Content-Type": "application/octet-stream"}
    with ThreadPoolExecutor(1) as pool:
        upload = pool.submit(requests.post, f"{server.url}/data", data=body(), headers=headers, timeout=PATIENCE_S)
        assert started.wait(PATIENCE_S)
        assert requests.get(f"{server.url}/ping", timeout=PATIENCE_S).ok
        server.signal(number)
        server.wait_for_line(re.compile("stopping"))
        stopping.set()
        assert upload.result(PATIENCE_S).json()["code"] == 0
    assert server.wait(PATIENCE_S) == 0


def test_a_killed_server_starts_again_on_its_port(tmp_path: Path):
    server = LocalServer(tmp_path)
    worker = requests.post(f"{server.url}/worker", json={"runtime": ["wasi"]}, timeout=PATIENCE_S).json()["id"]
    server.kill()
    with LocalServer(tmp_path, port=server.port) as again:
        assert requests.get(f"{again.url}/worker/{worker}", timeout=PATIENCE_S).json()["runtime"] == ["wasi"]


def test_a_server_is_one_process(server: LocalServer):
    assert requests.get(f"{server.url}/ping", timeout=PATIENCE_S).ok
    assert process_tree(server.pid) == [server.pid]


def test_a_stop_counts_whichever_thread_gets_it(server: LocalServer):
    thread = sorted(int(each.name) for each in Path(f"/proc/{server.pid}/task").iterdir())[1]  # the first is main
    assert ctypes.CDLL(None).tgkill(server.pid, thread, signal.SIGTERM) == 0
    assert server.wait(SOON_S) == 0


def test_a_second_server_on_the_same_data_is_refused(server: LocalServer):
    result = _run("run", "--data", server.data, "--port", "0")
    assert result.returncode == 1
    assert re.fullmatch(r"piecework: another server or command works on \S+\n", result.stderr)


def test_a_second_server_on_the_same_port_is_refused(server: LocalServer, tmp_path: Path):
    result = _run("run", "--data", tmp_path / "other", "--port", server.port)
    assert result.returncode == 1
    assert re.fullmatch(rf"piecework: cannot listen on 127\.0\.0\.1 port {server.port}: .*\n", result.stderr)


def test_a_stop_while_starting_is_quick(tmp_path: Path):
    command = [sys.executable, "-m", "piecework", "server", "run", "--data", str(tmp_path / "data"), "--port", "0"]
    with ChildProgram("the server", command, tmp_path / "log") as program:
        program.wait_for_line(re.compile("migrated the schema"))
        program.signal(signal.SIGTERM)
        assert program.wait(SOON_S) == 0


def test_the_log_can_be_read_by_programs(tmp_path: Path):
    with LocalServer(tmp_path, "--log-format", "json") as server:
        requests.get(f"{server.url}/ping", timeout=PATIENCE_S)
    lines = [json.loads(line) for line in server.read_log().splitlines()]
    expected = ["migrated the schema", "listening on", "stopping"]
    assert [line["event"].split(" http")[0] for line in lines] == expected
    assert lines[1]["database"] == "sqlite"
    assert lines[1]["data"] == str(server.data)


def test_beyond_this_machine_a_token_opens_what_its_scope_covers(tmp_path: Path):
    data = tmp_path / "data"
    _run("migrate", "--data", data)
    secret = _run("token", "create", "node", "--scope", "worker", "--data", data).stdout.strip()
    bearer = {"Authorization": f"Bearer {secret}"}
    command = [sys.executable, "-m", "piecework", "server", "run", "--data", str(data), "--host", "0.0.0.0"]
    with ChildProgram("the server", [*command, "--port", "0"], tmp_path / "log") as server:
        port = server.wait_for_line(re.compile(r"listening on http://0\.0\.0\.0:(\d+)"))[1]

        def status(method: str, path: str, headers: dict[str, str]) -> int:
            url = f"http://127.0.0.1:{port}{path}"
            return requests.request(method, url, headers=headers, json={}, timeout=PATIENCE_S).status_code

        assert status("GET", "/ping", {}) == 200
        assert status("GET", "/worker", {}) == 401
        assert status("POST", "/worker", bearer) == 200
        assert status("GET", "/worker", bearer) == 403
        _run("token", "revoke", "node", "--data", data)
        _wait_until(lambda: status("POST", "/worker", bearer) == 401, "the revoked token still works")
        assert secret not in server.read_log()


def test_tokens_expire_and_are_rotated_while_the_server_runs(tmp_path: Path):
    with LocalServer(tmp_path) as server:

        def ask(secret: str) -> requests.Response:
            headers = {"Authorization": f"Bearer {secret}"}
            return requests.get(f"{server.url}/worker", headers=headers, timeout=PATIENCE_S)

        def run(*words: str) -> str:
            return _run("token", *words, "--data", server.data).stdout.strip()

        old = run("create", "nightly", "--scope", "view")
        _wait_until(lambda: ask(old).status_code == 200, "the new token is not let in")
        new = run("rotate", "nightly", "--overlap", "1d")
        _wait_until(lambda: ask(new).status_code == 200, "the new secret is not let in")
        assert ask(old).status_code == 200
        newest = run("rotate", "nightly", "--overlap", "0")
        _wait_until(lambda: ask(old).status_code == ask(new).status_code == 401, "old secrets are let in")
        assert "the token nightly expired at 20" in ask(old).json()["message"]
        _wait_until(lambda: ask(newest).status_code == 200, "the newest secret is not let in")
        short = run("create", "short", "--scope", "view", "--expires", "1s")
        _wait_until(lambda: "the token short expired at 20" in ask(short).text, "it does not expire")
        _wait_until(lambda: json.loads(run("list", "--json"))[2]["used_at"], "the use is not listed")
        states = [(each["name"], each["state"]) for each in json.loads(run("list", "--json"))]
        assert states == [
            ("nightly", "expired"),
            ("nightly", "expired"),
            ("nightly", "live"),
            ("short", "expired"),
        ]
        log = server.read_log()
    assert not any(secret in log for secret in (old, new, newest, short))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.close()


def test_the_database_url_is_taken_from_the_environment_and_shown_to_nobody(cluster: Cluster, tmp_path: Path):
    url = cluster.create_database("piecework").replace("postgres@", "postgres:hush@")
    with LocalServer(tmp_path, environ={"PIECEWORK_DATABASE_URL": url}) as server:
        assert requests.get(f"{server.url}/readyz", timeout=PATIENCE_S).ok
        assert b"hush" not in Path(f"/proc/{server.pid}/cmdline").read_bytes()
        assert "database=postgresql" in server.read_log()
        assert "hush" not in server.read_log()


def test_servers_that_start_on_an_empty_database_at_once_all_find_the_schema(cluster: Cluster):
    url = cluster.create_database("race")
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda _: _run("migrate", PIECEWORK_DATABASE_URL=url), range(3)))
    assert [result.returncode for result in results] == [0, 0, 0], [result.stderr for result in results]


def test_a_server_outlives_its_database_being_away(cluster: Cluster, tmp_path: Path):
    url = cluster.create_database("piecework")
    with LocalServer(tmp_path / "server", environ={"PIECEWORK_DATABASE_URL": url}) as server:
        cluster.close()
        assert requests.get(f"{server.url}/readyz", timeout=PATIENCE_S).status_code == 503
        assert requests.post(f"{server.url}/worker", json={}, timeout=PATIENCE_S).json()["code"] == 9
        assert requests.get(f"{server.url}/healthz", timeout=PATIENCE_S).ok
        cluster.start()
        _wait_until(lambda: requests.get(f"{server.url}/readyz", timeout=PATIENCE_S).ok, "it never came back")
        assert requests.post(f"{server.url}/worker", json={}, timeout=PATIENCE_S).ok
        server.wait_for_line(re.compile("the database answers again"))
        log = server.read_log()
    told = ("the database does not answer  ", "the database answers again", "not ready", "ready again")
    assert [log.count(words) for words in (*told, "Traceback", "request failed")] == [1, 1, 1, 1, 0, 0], log
