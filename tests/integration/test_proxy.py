"""The reverse proxy as a process: kills, restarts, breaks and large bodies, seen by real clients."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from patience import LONG_S, until
from raw_server import RawServer
from upstreams import Upstream

from piecework.client import Client
from piecework.local import ChildProgram, LocalAgent, LocalServer
from piecework.protocol.messages import DeploymentPut

pytestmark = pytest.mark.integration

SAMPLES = Path(__file__).parents[2] / "samples"
UPSTREAM = Path(__file__).parents[1] / "support" / "upstreams.py"
LISTENING = re.compile(r"listening on (\d+)")
CALLERS = 4


class UpstreamProcess(ChildProgram):
    """A server that can be killed."""

    def __init__(self, folder: Path, name: str, port: int = 0) -> None:
        environ = {"PYTHONPATH": str(UPSTREAM.parent)}
        command = [sys.executable, str(UPSTREAM), name, str(port)]
        super().__init__(name, command, folder / f"{name}.log", environ)
        self.port = int(self.wait_for_line(LISTENING)[1])
        self.url = f"http://127.0.0.1:{self.port}"


def ask(port: int, method: str, path: str, body: object = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONG_S)
    try:
        connection.request(method, path, body if isinstance(body, bytes) or body is None else json.dumps(body))
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def register(port: int, function: str, *urls: str) -> None:
    first, *more = urls
    assert ask(port, "POST", "/memory/functions/registration", {"function": function, "url": first})[0] == 202
    for url in more:
        assert ask(port, "POST", f"/memory/functions/{function}/default/url", {"url": url})[0] == 202


class Load:
    """Callers that ask for the same again and again."""

    def __init__(self, port: int, path: str) -> None:
        self._port, self._path = port, path
        self.names: Counter[str] = Counter()
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]
        for thread in self._threads:
            thread.start()

    def _call(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=LONG_S)
        while not self._stop.is_set():
            try:
                connection.request("GET", self._path)
                response = connection.getresponse()
                body = response.read()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
                continue
            if response.status == 200:
                self.names[json.loads(body)["name"]] += 1
            else:
                self.failures.append(f"{response.status} {body!r}")
        connection.close()

    def await_more(self, calls: int, name: str | None = None) -> None:
        """Wait until so many more calls were answered, by the server of that name."""

        def count() -> int:
            return self.names.total() if name is None else self.names[name]

        goal = count() + calls
        until(lambda: count() >= goal)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_a_url_that_is_killed_under_load_fails_no_call_and_comes_back(tmp_path: Path):
    with (
        LocalServer(tmp_path, part="proxy") as proxy,
        UpstreamProcess(tmp_path, "one") as one,
        UpstreamProcess(tmp_path, "two") as two,
    ):
        register(proxy.port, "hola", one.url, two.url)
        load = Load(proxy.port, "/functions/hola")
        load.await_more(100, "two")
        one.kill()
        load.await_more(300, "two")
        with UpstreamProcess(tmp_path, "back", one.port):
            load.await_more(50, "back")
            load.stop()
        assert load.failures == []
        assert load.names.total() > 450


def test_routes_survive_a_kill_and_the_file_is_read_at_each_start(tmp_path: Path):
    config = tmp_path / "config.yaml"
    config.write_text("hello:\n  default:\n    - http://localhost:9091\n    - http://localhost:7071\n")
    server = LocalServer(tmp_path, "--config", str(config), part="proxy")
    register(server.port, "morgen", "http://localhost:5050")
    server.kill()
    config.write_text("functions:\n  hello:\n    orange: [http://localhost:6061]\n")
    with LocalServer(tmp_path, "--config", str(config), part="proxy") as again:
        assert json.loads(ask(again.port, "GET", "/memory/functions/list")[1]) == {
            "hello": {"orange": ["http://localhost:6061"]},
            "morgen": {"default": ["http://localhost:5050"]},
        }
        again.signal(signal.SIGTERM)
        assert again.wait() == 0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("hola:\n  - http://a\n", "config.yaml, line 2: here should be the revisions of hola"),
        ("hola: {blue: [ftp://a]}", "config.yaml: 'ftp://a' is no URL of a server"),
        (None, "No such file or directory"),
    ],
)
def test_a_bad_file_ends_the_start_in_one_line(tmp_path: Path, text: str | None, problem: str):
    config = tmp_path / "config.yaml"
    if text is not None:
        config.write_text(text)
    command = [sys.executable, "-m", "piecework", "server", "proxy", "--port", "0", "--config", str(config)]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    lines = [line for line in ran.stderr.splitlines() if "migrated the schema" not in line]
    assert (ran.returncode, len(lines)) == (1, 1), ran.stderr
    assert problem in lines[0]


@contextmanager
def raw_server(*answers: bytes) -> Iterator[RawServer]:
    server = RawServer()
    server.answer(*answers)
    yield server
    server.close()


def test_an_answer_that_breaks_off_reaches_the_caller_as_a_broken_one(tmp_path: Path):
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(300_000)
    with LocalServer(tmp_path, part="proxy") as proxy, raw_server(cut) as raw:
        register(proxy.port, "hola", raw.url)
        with pytest.raises(http.client.IncompleteRead):
            ask(proxy.port, "GET", "/functions/hola")
        assert ask(proxy.port, "GET", "/ping")[0] == 200


def test_an_answer_without_length_that_breaks_off_does_so_too(tmp_path: Path):
    cut = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"30d40\r\n" + bytes(200_000) + b"\r\n"
    with LocalServer(tmp_path, part="proxy") as proxy, raw_server(cut) as raw:
        register(proxy.port, "hola", raw.url)
        with pytest.raises(http.client.IncompleteRead):
            ask(proxy.port, "GET", "/functions/hola")


def test_what_is_sent_arrives_byte_for_byte(tmp_path: Path):
    answer = b"HTTP/1.1 200 OK\r\nX-Text: h\xc3\xa9\r\nX-Odd: \xff\r\nContent-Length: 2\r\n\r\nok"
    with LocalServer(tmp_path, part="proxy") as proxy, raw_server(answer) as raw:
        register(proxy.port, "hola", raw.url)
        request = (
            b"POST /functions/hola/a%2Fb%2f/~%7E//x?q=%20+%2B&q HTTP/1.1\r\nHost: h\r\nX-Text: h\xc3\xa9 \xff\r\n"
            b"X-Two: 1\r\nX-Two: 2\r\nX_under: 1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n0\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", proxy.port), 10) as connection:
            connection.sendall(request.replace(b"Host: h", b"Host: localhost"))
            received = b"".join(iter(lambda: connection.recv(65536), b""))
        [arrived] = raw.requests
    assert arrived.startswith(b"POST /a%2Fb%2f/~%7E//x?q=%20+%2B&q HTTP/1.1\r\n")
    assert b"\r\nX-Text: h\xc3\xa9 \xff\r\n" in arrived
    assert b"\r\nX-Two: 1\r\nX-Two: 2\r\n" in arrived
    assert b"under" not in arrived.lower()
    assert b"\r\nx-text: h\xc3\xa9\r\nx-odd: \xff\r\n" in received


def test_large_bodies_pass_both_ways_and_cost_no_memory(tmp_path: Path):
    size = 100_000_000
    with LocalServer(tmp_path, part="proxy") as proxy, Upstream() as upstream:
        register(proxy.port, "hola", upstream.url)
        ask(proxy.port, "POST", "/functions/hola", b"x" * 100_000)
        before = peak_bytes(proxy.pid)
        status, body = ask(proxy.port, "POST", "/functions/hola", bytes(size))
        assert (status, json.loads(body)["size"]) == (200, size)
        assert download_bytes(proxy.port, f"/functions/hola/big/{size}") == size
        assert peak_bytes(proxy.pid) - before < 10_000_000


def download_bytes(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONG_S)
    connection.request("GET", path)
    response = connection.getresponse()
    total = 0
    while piece := response.read(1 << 20):
        total += len(piece)
    connection.close()
    return total


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process had."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def test_events_reach_the_caller_when_they_are_sent(tmp_path: Path):
    with LocalServer(tmp_path, part="proxy") as proxy, Upstream() as upstream:
        register(proxy.port, "hola", upstream.url)
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=LONG_S)
        upstream.next_event.release()
        connection.request("GET", "/functions/hola/events")
        response = connection.getresponse()
        for number in range(3):
            assert response.readline() == b"data: %d\n" % number
            assert response.readline() == b"\n"
            upstream.next_event.release()
        assert response.read() == b""
        connection.close()


def test_a_caller_that_leaves_frees_its_place(tmp_path: Path):
    environ = {"PIECEWORK_CALLS_MAX": "1"}
    with LocalServer(tmp_path, part="proxy", environ=environ) as proxy, Upstream() as upstream:
        register(proxy.port, "hola", upstream.url)
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=LONG_S)
        connection.request("GET", "/functions/hola/big/50000000")
        connection.getresponse().read(1000)
        assert ask(proxy.port, "GET", "/functions/hola")[0] == 503
        connection.close()
        until(lambda: ask(proxy.port, "GET", "/functions/hola")[0] == 200)


@pytest.mark.parametrize("body", [None, b"x", bytes(300_000)])
def test_a_caller_that_leaves_a_silent_function_frees_its_place(tmp_path: Path, body: bytes | None):
    environ = {"PIECEWORK_CALLS_MAX": "1"}
    with LocalServer(tmp_path, part="proxy", environ=environ) as proxy, Upstream() as upstream:
        register(proxy.port, "hola", upstream.url)
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=LONG_S)
        connection.request("POST", "/functions/hola/wait", body)
        until(lambda: upstream.calls == 1)
        assert ask(proxy.port, "GET", "/functions/hola")[0] == 503
        connection.close()
        until(lambda: ask(proxy.port, "GET", "/functions/hola")[0] == 200)


def test_variables_of_the_server_reach_no_function(tmp_path: Path):
    environ = {"HTTP_X_SECRET": "variable"}
    with LocalServer(tmp_path, part="proxy", environ=environ) as proxy, Upstream() as upstream:
        register(proxy.port, "hola", upstream.url)
        status, body = ask(proxy.port, "GET", "/functions/hola")
        assert status == 200
        assert b"variable" not in body


def test_a_function_that_nothing_serves_runs_on_an_agent(tmp_path: Path):
    with LocalServer(tmp_path) as server, Client(server.url) as client:
        codex = client.upload((SAMPLES / "capsule_g4.wasm").read_bytes()).id
        client.deploy("hola", "blue", DeploymentPut(codex=codex, replicas=0))
        status, body = ask(server.port, "GET", "/functions/hola")
        assert status == 503, body
        with LocalAgent(server.url, tmp_path, "node"):
            until(lambda: bool(list(client.workers())))
            status, body = ask(server.port, "POST", "/functions/hola/blue/x", b"hello")
            assert status == 201, body
            told = json.loads(body)
            assert (told["Body"], told["URI"], told["Method"]) == ("hello", "/x", "POST")
