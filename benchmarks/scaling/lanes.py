"""Claims among many lanes, tenants and limits: what one costs with few jobs enqueued, and with very many.

A claim is a whole exchange, a call of the server's own services without flushes to disk: hand in the outcomes of
the last jobs, lease the next. In ``lanes`` all jobs are nobody's and differ in the tags that they need, and
``tenants`` have a lane each. In ``full key`` all but a few jobs have one key whose two places are taken, in ``many
keys`` each has a key of its own with one place. In ``fan-out`` all jobs of a submission wait for its first.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness.tables import Table, number

from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, ContractRequest, JobSpec, LambdaCreate, WorkerRegister
from piecework.server.services import Services, open_services
from piecework.server.services.queue.waiting.pauses import wait_out
from piecework.server.settings import Settings
from scaling.depth import EXCHANGES, SPARE, Lease, finished

RUNTIME = "lanes"
SUBMITTED_AT_ONCE = 1_000
"""All depths are multiples of it."""
TAGS_OF_ONE = 100
"""Tags of the worker: with 1, 10 and 1,000 lanes it fits all, all, and so many of them."""
HOT_STARTS = 300

Fields = dict[str, Any]


def _lanes(count: int) -> Callable[[int], Fields]:
    def describe(number_: int) -> Fields:
        # What the exchanges use up is in lanes that the worker fits.
        return {"tags": [f"+tag{number_ % min(count, TAGS_OF_ONE if number_ < SPARE else count)}"]}

    return describe


def _tenants(count: int) -> Callable[[int], Fields]:
    return lambda number_: {"tenant": f"tenant{number_ % count}"}


def _full_key(number_: int) -> Fields:
    return {} if number_ < SPARE else {"concurrency_key": "full", "concurrency_limit": 2}


def _many_keys(number_: int) -> Fields:
    return {"concurrency_key": f"key{number_}", "concurrency_limit": 1}


def _fan_out(number_: int) -> Fields:
    return {} if number_ < SPARE or number_ % SUBMITTED_AT_ONCE == 0 else {"after": ["@0"]}


CASES: dict[str, Callable[[int], Fields]] = {
    "1 lane": _lanes(1),
    "10 lanes": _lanes(10),
    "1,000 lanes": _lanes(1_000),
    "10 tenants": _tenants(10),
    "1,000 tenants": _tenants(1_000),
    "full key": _full_key,
    "many keys": _many_keys,
    "fan-out": _fan_out,
}


def measure(folder: Path, depths: list[int]) -> list[dict[str, Any]]:
    """Fill a queue to each depth for each case, and measure there; then what one hot key lets through."""
    rows = []
    for name, describe in CASES.items():
        services = _open(folder / name.replace(" ", "-"))
        try:
            filled, row = 0, {"case": name, "claims": {}}
            for depth in depths:
                began = time.perf_counter()
                _fill(services, describe, filled, depth + SPARE)
                row["submitted_per_s"] = (depth + SPARE - filled) / (time.perf_counter() - began)
                filled = depth + SPARE
                row["claims"][str(depth)] = {str(each): us for each, us in _time_exchanges(services).items()}
            rows.append(row)
        finally:
            services.close()
    rows.append({"case": "one hot key", "starts_per_s": _drain_hot_key(folder / "hot")})
    return rows


def _open(folder: Path) -> Services:
    return open_services(Settings(data=folder, synchronous="OFF", bulk_max=SUBMITTED_AT_ONCE))


def _fill(services: Services, describe: Callable[[int], Fields], begin: int, end: int) -> None:
    lambda_id = services.lambdas.create(LambdaCreate(codex=Id(0), runtime=RUNTIME)).id
    for start in range(begin, end, SUBMITTED_AT_ONCE):
        numbers = range(start, min(start + SUBMITTED_AT_ONCE, end))
        services.submission.submit(
            [JobSpec(lambda_=Id(lambda_id), input=Content(raw=b"%d" % each), **describe(each)) for each in numbers]
        )


def _worker(services: Services) -> int:
    tags = [f"tag{each}" for each in range(TAGS_OF_ONE)]
    return services.workers.register(WorkerRegister(runtime=[RUNTIME], tags=tags, slots=4)).id


def _exchange(services: Services, worker: int, jobs: int, held: list[Lease]) -> tuple[list[Lease], float]:
    """Hand in what is held and lease so many jobs. Returns these and the CPU time that it took, in seconds."""
    request = ContractRequest(
        max=jobs, timeout=0, inline_max_bytes=1024, outcomes=[finished(job, lease) for job, lease in held]
    )
    began = time.thread_time()
    contracted = wait_out(services.contracts.contract(worker, request))
    return [(Id(job.id), job.lease or "") for job in contracted.jobs], time.thread_time() - began


def _time_exchanges(services: Services) -> dict[int, float]:
    """Return the median CPU time of an exchange in µs, by how many jobs it leases."""
    worker, held, medians = _worker(services), list[Lease](), {}
    for jobs, repeats in EXCHANGES.items():
        times = []
        for _ in range(repeats + 1):
            held, took = _exchange(services, worker, jobs, held)
            assert held
            times.append(took)
        medians[jobs] = sorted(times[1:])[repeats // 2] * 1e6
    _exchange(services, worker, 0, held)
    return medians


def _drain_hot_key(folder: Path) -> float:
    """Return how many jobs of one key with two places a second start and end, one after the other, by CPU time."""
    services = _open(folder)
    try:
        _fill(services, lambda _: {"concurrency_key": "hot", "concurrency_limit": 2}, 0, 2 * HOT_STARTS)
        return 2 * HOT_STARTS / sum(_run_two(services, _worker(services)))
    finally:
        services.close()


def _run_two(services: Services, worker: int) -> Iterator[float]:
    held: list[Lease] = []
    for _ in range(HOT_STARTS + 1):
        held, took = _exchange(services, worker, 2, held)
        yield took


def table(rows: list[dict[str, Any]]) -> Table:
    """One row for each case."""
    depths = list(rows[0]["claims"])
    columns = ["jobs", *(f"{int(depth):,}: of {jobs} µs" for depth in depths for jobs in EXCHANGES), "submitted/s"]
    cells = [
        [
            row["case"],
            *(number(row["claims"][depth][str(jobs)]) for depth in depths for jobs in EXCHANGES),
            number(row["submitted_per_s"]),
        ]
        for row in rows
        if "claims" in row
    ]
    hot = next(row["starts_per_s"] for row in rows if "starts_per_s" in row)
    title = (
        f"Claims by lanes, tenants and limits, CPU time; one key with two places starts {hot:,.0f} jobs a second"
    )
    return Table(title, columns, cells)
