"""Drill: many idle agents hold their long polls while others work.

``python benchmarks/drills/idle_polls.py`` holds 1,000 at once, from one process with plain sockets, and measures
how quickly short requests are answered meanwhile. The promise: every poll is held and answered in order, short
requests hardly notice them, and the server stops within seconds although they are held.
"""

import http.client
import json
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles

from evidence import MIB, Figures, expect, memory_bytes, run_as_script, thread_count

from piecework.local import LocalServer

POLL_S = 15
"""What each simulated agent asks the server to wait."""
ANSWERED = b"HTTP/1.1 200"
STOP_MAX_S = 10.0
WAITING = 'piecework_waiting_requests{for="contract"}'


class IdleAgents:
    """Registered workers, each with one contract request under way; one thread reads all answers."""

    def __init__(self, server: LocalServer, count: int) -> None:
        workers = [str(post(server, "/worker", {"runtime": ["never"], "slots": 1})["id"]) for _ in range(count)]
        self._port = server.port
        self._selector = selectors.DefaultSelector()
        self._stop = threading.Event()
        self.refusals: list[bytes] = []
        for worker in workers:
            self._open(worker)
        self._reader = threading.Thread(target=self._read, name="idle agents")
        self._reader.start()

    def _open(self, worker: str) -> None:
        connection = socket.create_connection(("127.0.0.1", self._port))
        self._selector.register(connection, selectors.EVENT_READ, worker)
        self._poll(connection, worker)

    def _poll(self, connection: socket.socket, worker: str) -> None:
        body = json.dumps({"max": 1, "timeout": POLL_S}).encode()
        head = f"POST /worker/{worker}/contract HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    def _read(self) -> None:
        while not self._stop.is_set():
            for key, _ in self._selector.select(timeout=0.1):
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                try:
                    answer = connection.recv(64 * 1024)
                    if answer.startswith(ANSWERED):
                        self._poll(connection, key.data)
                        continue
                    self.refusals += [answer] if answer else []
                except OSError:
                    pass  # the server has gone, as it may
                self._selector.unregister(connection)
                connection.close()

    @property
    def connected(self) -> int:
        return len(self._selector.get_map())

    def close(self) -> None:
        """Hang up, all at once."""
        self._stop.set()
        self._reader.join()
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()


@contextmanager
def idle_agents(server: LocalServer, count: int) -> Iterator[IdleAgents]:
    """Hold the polls of ``count`` workers until the block ends."""
    agents = IdleAgents(server, count)
    try:
        yield agents
    finally:
        agents.close()


def post(server: LocalServer, path: str, body: object) -> dict[str, object]:
    """Send one JSON request over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("POST", path, json.dumps(body))
    answer: dict[str, object] = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def drill(folder: Path, *, polls: int, requests: int) -> Figures:
    """Measure short requests beside ``polls`` long ones. Raises DrillError."""
    with LocalServer(folder) as server:
        rest_bytes = memory_bytes(server.pid)
        alone = request_times(server, requests)
        with idle_agents(server, polls) as agents:
            wait_until_parked(server, polls)
            beside = request_times(server, requests)
            held_bytes, threads = memory_bytes(server.pid), thread_count(server.pid)
            expect(agents.connected == polls, f"all polls are held: {agents.connected}")
            expect(not agents.refusals, f"no poll was refused: {agents.refusals[:1]}")
            began = time.monotonic()
            code = server.stop()
            stop_s = time.monotonic() - began
        expect(
            code == 0 and stop_s < STOP_MAX_S, f"it stops in order although polls are held: {code}, {stop_s:.1f} s"
        )
    return {
        "polls held at once": polls,
        "short requests meanwhile": requests,
        "p50 / p99 without polls, ms": milliseconds(alone),
        "p50 / p99 with them, ms": milliseconds(beside),
        "server before, MiB": rest_bytes / MIB,
        "server with the polls, MiB": held_bytes / MIB,
        "its threads": threads,
        "SIGTERM to exit with all polls held, s": stop_s,
    }


def wait_until_parked(server: LocalServer, polls: int) -> None:
    """Wait until the server says that it holds all polls. Raises DrillError after a while."""
    pause, until = threading.Event(), time.monotonic() + 60
    while (held := waiting_polls(server)) < polls:
        expect(time.monotonic() < until, f"the server holds {polls} polls: {held}")
        pause.wait(0.1)


def waiting_polls(server: LocalServer) -> int:
    """Read from /metrics how many contracts wait."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    [held] = [line.split()[-1] for line in text.splitlines() if line.startswith(WAITING)]
    return int(float(held))


def request_times(server: LocalServer, requests: int) -> list[float]:
    """Send short requests one after the other, reads and writes in turn; return what each took, seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    times = []
    for number in range(requests):
        began = time.perf_counter()
        if number % 2:
            connection.request("GET", "/ping")
        else:
            connection.request("POST", "/lambda", '{"codex": "0", "runtime": "default"}')
        connection.getresponse().read()
        times.append(time.perf_counter() - began)
    connection.close()
    return times


def milliseconds(times: list[float]) -> str:
    """Show median and 99th percentile."""
    cuts = quantiles(times, n=100)
    return f"{cuts[49] * 1000:.2f} / {cuts[98] * 1000:.2f}"


if __name__ == "__main__":
    run_as_script("Idle agents' long polls", drill, polls=1000, requests=2000)
