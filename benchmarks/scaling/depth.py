"""A deep queue: what a claim and the memory cost with 1,000 jobs enqueued, and with a million.

A claim is a whole exchange, as agents make them: hand in the outcomes of the last jobs, lease the next. Directly
it is a call of the server's own services without flushes to disk, so that nothing hides the cost; through HTTP it
is a request with the default, durable settings.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.tables import Table, number
from harness.usage import memory
from harness.work import NOOP, make_payloads

from piecework import Client
from piecework.local import LocalServer
from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    Content,
    ContractRequest,
    JobSpec,
    LambdaCreate,
    Outcome,
    WorkerRegister,
)
from piecework.protocol.states import JobState
from piecework.server.services import Services, open_services
from piecework.server.services.queue.waiting.pauses import wait_out
from piecework.server.settings import Settings

RUNTIME = "depth"
SUBMITTED_AT_ONCE = 5_000
EXCHANGES = {1: 100, 100: 20}
"""How many jobs an exchange leases, and how many such exchanges are timed."""
SPARE = 6_000
"""Jobs beyond the depth: the exchanges use them up."""
MB = 1e6

Lease = tuple[Id, str]
Exchange = Callable[[ContractRequest], list[Lease]]
"""Sends a contract and returns the leases that it gave."""


def measure(folder: Path, depths: list[int]) -> list[dict[str, Any]]:
    """Fill one queue to each depth in turn, and measure there."""
    rows, enqueued = [], 0
    for depth in depths:
        services = open_services(Settings(data=folder / "data", synchronous="OFF"))
        try:
            began = time.perf_counter()
            fill(services, depth + SPARE - enqueued)
            filled_s = time.perf_counter() - began
            direct = time_exchanges(direct_exchange(services))
        finally:
            services.close()
        started = time.perf_counter()
        with LocalServer(folder) as server, Client(server.url) as client:
            ready_s = time.perf_counter() - started
            through_http = time_exchanges(http_exchange(client))
            used = memory([server.pid]).proportional / MB
        size_mb = sum(path.stat().st_size for path in (folder / "data").glob("piecework.db*")) / MB
        added, enqueued = depth + SPARE - enqueued, depth
        rows.append(
            {
                "depth": depth,
                "submitted_per_s": added / filled_s,
                "direct_us": {str(jobs): each * 1e6 for jobs, each in direct.items()},
                "http_us": {str(jobs): each * 1e6 for jobs, each in through_http.items()},
                "server_mb": used,
                "database_mb": size_mb,
                "ready_s": ready_s,
            }
        )
    return rows


def fill(services: Services, count: int) -> None:
    """Submit so many jobs with inline inputs."""
    lambda_id = services.lambdas.create(LambdaCreate(codex=Id(0), runtime=RUNTIME)).id
    for start in range(0, count, SUBMITTED_AT_ONCE):
        payloads = make_payloads(min(SUBMITTED_AT_ONCE, count - start), NOOP, f"depth {lambda_id} {start}")
        services.submission.submit(
            [JobSpec(lambda_=Id(lambda_id), input=Content(raw=each.encode())) for each in payloads]
        )


def time_exchanges(exchange: Exchange) -> dict[int, float]:
    """Return the median time of an exchange, in seconds, by how many jobs it leases."""
    held: list[Lease] = []
    medians = {}
    for jobs, repeats in EXCHANGES.items():
        times_s = []
        for _ in range(repeats + 1):
            outcomes = [finished(job, lease) for job, lease in held]
            began = time.perf_counter()
            held = exchange(ContractRequest(max=jobs, timeout=0, inline_max_bytes=1024, outcomes=outcomes))
            times_s.append(time.perf_counter() - began)
            assert len(held) == jobs
        # The first one hands in what another size leased.
        medians[jobs] = statistics.median(times_s[1:])
    return medians


def finished(job: Id, lease: str) -> Outcome:
    """Return the outcome of a job that went well."""
    return Outcome(job=job, lease=lease, state=JobState.FINISHED, output=Content(raw=f"result of {job}".encode()))


def direct_exchange(services: Services) -> Exchange:
    """Return an exchange that calls the services."""
    worker = services.workers.register(WorkerRegister(runtime=[RUNTIME])).id

    def exchange(request: ContractRequest) -> list[Lease]:
        contracted = wait_out(services.contracts.contract(worker, request))
        return [(Id(job.id), job.lease) for job in contracted.jobs]

    return exchange


def http_exchange(client: Client) -> Exchange:
    """Return an exchange that sends a request."""
    worker = client.register(WorkerRegister(runtime=[RUNTIME])).id

    def exchange(request: ContractRequest) -> list[Lease]:
        return [(job.job, job.lease) for job in client.contract(worker, request).jobs or []]

    return exchange


def table(rows: list[dict[str, Any]]) -> Table:
    """One row for each depth."""
    columns = ["jobs enqueued", "claim of 1 µs", "of 100 µs", "HTTP: of 1 µs", "of 100 µs", "server MB"]
    columns += ["database MB", "server ready s", "submitted/s"]
    return Table(
        "Claims from a deep queue: finish the last jobs, lease the next",
        columns,
        [
            [
                f"{row['depth']:,}",
                *(number(row[way][str(jobs)]) for way in ("direct_us", "http_us") for jobs in EXCHANGES),
                *(number(row[name]) for name in ("server_mb", "database_mb", "ready_s", "submitted_per_s")),
            ]
            for row in rows
        ],
    )
