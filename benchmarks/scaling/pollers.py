"""Many connected agents: what 1 to 5,000 idle ones, each with its long poll, cost the one that works."""

import asyncio
import json
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.guests import UPPERCASE
from harness.tables import Table, number
from harness.usage import memory
from harness.work import NOOP, make_payloads

from piecework import Client
from piecework.local import LocalAgent, LocalServer
from piecework.protocol.messages import WorkerRegister
from scaling.wire import END_OF_HEAD, content_length

OTHER_RUNTIME = "never"
POLL_S = 20
PATIENCE_S = 60.0
MB = 1e6


def measure(folder: Path, counts: list[int], jobs: int, singles: int) -> list[dict[str, Any]]:
    """Let one real agent work beside idle ones: bulk work, and one job at a time."""
    rows = []
    with (
        LocalServer(folder) as server,
        Client(server.url) as client,
        LocalAgent(server.url, folder, "agent", "--slots", "2"),
    ):
        uppercase = client.create_lambda(UPPERCASE.read_bytes())
        run_jobs(client, uppercase, 200)
        for count in counts:
            # The agent that works is one of them.
            with idle_polls(client, server.port, count - 1):
                rows.append(
                    {
                        "agents": count,
                        "jobs_per_s": run_jobs(client, uppercase, jobs),
                        "p50_ms": run_singly(client, uppercase, singles) * 1000,
                        "server_mb": memory([server.pid]).proportional / MB,
                    }
                )
    return rows


@contextmanager
def idle_polls(client: Client, port: int, count: int) -> Iterator[None]:
    """Hold the long polls of so many workers that nothing is there for, until the block ends."""
    registration = WorkerRegister(runtime=[OTHER_RUNTIME], slots=1)
    workers = [int(client.register(registration).id) for _ in range(count)]
    loop = asyncio.new_event_loop()
    polls = [loop.create_task(poll(port, worker)) for worker in workers]
    thread = threading.Thread(target=loop.run_forever, name="idle polls")
    thread.start()
    try:
        threading.Event().wait(1 + count / 500)
        yield
    finally:
        for each in polls:
            loop.call_soon_threadsafe(each.cancel)
        asyncio.run_coroutine_threadsafe(settle(polls), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def settle(polls: list[asyncio.Task[None]]) -> None:
    """Wait until all polls have ended, whichever way. Raises what one failed with."""
    for ended in await asyncio.gather(*polls, return_exceptions=True):
        if isinstance(ended, Exception):
            raise ended


async def poll(port: int, worker: int) -> None:
    """Ask for a job again and again. Raises ConnectionError when the server does not hold the poll."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({"max": 1, "timeout": POLL_S}).encode()
    head = f"POST /worker/{worker}/contract HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    try:
        while True:
            writer.write(head.encode() + body)
            answer = await reader.readuntil(END_OF_HEAD)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise ConnectionError(answer)
            await reader.readexactly(content_length(answer))
    finally:
        writer.close()


def run_jobs(client: Client, lambda_id: int, count: int) -> float:
    """Run no-ops and return how many a second. Raises AssertionError for a wrong answer."""
    payloads = make_payloads(count, NOOP, f"jobs {time.time_ns()}")
    began = time.perf_counter()
    ids = client.submit_many(lambda_id, payloads)
    results = dict(client.results(ids, PATIENCE_S))
    took_s = time.perf_counter() - began
    for job, payload in zip(ids, payloads, strict=True):
        assert results[job].read() == payload.upper().encode()
    return count / took_s


def run_singly(client: Client, lambda_id: int, count: int) -> float:
    """Run no-ops one after the other and return the median time of one, seconds."""
    times_s = []
    for payload in make_payloads(count, NOOP, f"singles {time.time_ns()}"):
        began = time.perf_counter()
        client.result(client.submit(lambda_id, payload), PATIENCE_S)
        times_s.append(time.perf_counter() - began)
    return statistics.median(times_s)


def table(rows: list[dict[str, Any]]) -> Table:
    """One row for each number of agents."""
    columns = ["connected agents", "no-ops/s of the one that works", "one job at a time, p50 ms", "server MB"]
    names = ("jobs_per_s", "p50_ms", "server_mb")
    return Table(
        "Idle agents beside one that works",
        columns,
        [[f"{row['agents']:,}", *(number(row[name]) for name in names)] for row in rows],
    )
