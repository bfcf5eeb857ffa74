"""What our own HTTP connections save beside ``http.client`` and ``urllib3``, as a share of a no-op job.

Each does the same exchanges over a connection that it keeps, with a real server, in turns in one run. How many
exchanges a job takes is counted by the server. Results go to ``results/http_clients.json``.
"""

import argparse
import json
import os
import re
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from harness.guests import UPPERCASE
from harness.machine import describe
from harness.tables import Table, describe_machine, number
from harness.usage import CpuMeter
from peers.http_clients import HttpClient, Ours, StandardLibrary, Urllib3

from piecework import Client
from piecework.local import House, LocalServer, open_house
from piecework.protocol.bodies import BINARY, MSGPACK, encode
from piecework.protocol.messages import Content, ContractRequest, JobSubmit, WorkerRegister

RESULTS = Path(__file__).parent / "results" / "http_clients.json"
CLIENTS: dict[str, Callable[[str], HttpClient]] = {
    "ours": Ours,
    "http.client": StandardLibrary,
    "urllib3": Urllib3,
}
BLOB_BYTES = 1_000_000
PATIENCE_S = 600.0
SHARE_MAX = 0.05
"""A library that costs less than this share of a job is taken."""
SMALL = ("empty contract", "submit a job")
"""The exchanges that jobs are made of."""
Round = dict[str, dict[str, Any]]
_REQUESTS = re.compile(r"^piecework_requests_total\{.*\} ([0-9.]+)$", re.MULTILINE)


class Sizes(NamedTuple):
    """How much is measured in a round."""

    small: int = 100
    """Small exchanges of each client."""
    blobs: int = 5
    """Large ones."""
    alone: int = 25
    """Jobs one after the other."""
    bulk: int = 500
    """Jobs at once."""


class Exchange(NamedTuple):
    """One request that all clients send."""

    name: str
    method: str
    path: str
    body: bytes = b""
    kind: str = MSGPACK


def main() -> None:
    """Run all, print and store the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="in each, jobs and every client have a turn")
    count = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="piecework-http-clients-") as folder:
        about = describe(Path(folder))
        results = {"about": about, "rounds": measure(Path(folder), count, Sizes())}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(describe_machine(about))
    exchange_table(results).show()
    share_table(results).show()
    print(judge(results))


def measure(folder: Path, count: int, sizes: Sizes) -> list[Round]:
    """Give jobs and clients turns: jobs at a server with two agents, exchanges at one without."""
    with ExitStack() as stack:
        house = stack.enter_context(open_house(folder / "house", "--slots", "1"))
        jobs = stack.enter_context(closing(Jobs(house)))
        server = stack.enter_context(LocalServer(folder / "server"))
        exchanges = list_exchanges(stack.enter_context(Client(server.url)))
        clients = {name: stack.enter_context(closing(make(server.url))) for name, make in CLIENTS.items()}
        run = partial(run_round, jobs, clients, exchanges, sizes)
        run(0)  # makes connections, and fills caches
        return [run(number) for number in range(count)]


class Jobs:
    """No-op jobs of a house: what one takes, of the time and of everybody's CPU, and how many exchanges."""

    def __init__(self, house: House) -> None:
        self._server = house.server
        self._pids = [house.server.pid, *(agent.pid for agent in house.agents), os.getpid()]
        self._client = Client(house.server.url)
        self._lambda = self._client.create_lambda(UPPERCASE.read_bytes())

    def run_alone(self, jobs: int) -> dict[str, float]:
        """Run them one after the other."""
        times: list[float] = []

        def run() -> None:
            for each in range(jobs):
                began = time.perf_counter()
                self._client.run(self._lambda, f"alone {each}", PATIENCE_S)
                times.append(time.perf_counter() - began)

        return self._meter(run, jobs) | {"p50_us": statistics.median(times) * 1e6}

    def run_bulk(self, jobs: int) -> dict[str, float]:
        """Run them all at once."""
        inputs = [f"bulk {each}" for each in range(jobs)]
        return self._meter(lambda: list(self._client.map(self._lambda, inputs, wait_s=PATIENCE_S)), jobs)

    def _meter(self, run: Callable[[], object], jobs: int) -> dict[str, float]:
        used, before = CpuMeter({"all": self._pids}), count_requests(self._server)
        run()
        exchanges = count_requests(self._server) - before - 1  # the first count is one, too
        return {"cpu_us": used.read()["all"] / jobs * 1e6, "exchanges": exchanges / jobs}

    def close(self) -> None:
        """Hang up."""
        self._client.close()


def count_requests(server: LocalServer) -> float:
    """Return how many requests a server has answered."""
    with urllib.request.urlopen(f"{server.url}/metrics") as answer:
        return sum(map(float, _REQUESTS.findall(answer.read().decode())))


def list_exchanges(client: Client) -> list[Exchange]:
    """Return what is measured. The worker that asks takes none of the jobs that are submitted."""
    lambda_ = client.create_lambda(UPPERCASE.read_bytes())
    worker = client.register(WorkerRegister(runtime=["never"])).id
    noise = os.urandom(BLOB_BYTES)
    blob = client.upload(noise).id
    job = JobSubmit(lambda_=lambda_, input=Content(raw=b"x" * 64))
    contract = ContractRequest(max=1, timeout=0)
    return [
        Exchange(SMALL[0], "POST", f"/worker/{worker}/contract", encode(contract, MSGPACK)),
        Exchange(SMALL[1], "POST", "/job", encode(job, MSGPACK)),
        Exchange("1 MB up", "POST", "/data", noise, BINARY),
        Exchange("1 MB down", "GET", f"/data/{blob}/blob"),
    ]


def run_round(
    jobs: Jobs, clients: dict[str, HttpClient], exchanges: list[Exchange], sizes: Sizes, turn: int
) -> Round:
    """Run jobs, and each exchange with each client, another first each time."""
    names = list(clients)
    order = names[turn % len(names) :] + names[: turn % len(names)]
    return {
        "jobs": {"alone": jobs.run_alone(sizes.alone), "bulk": jobs.run_bulk(sizes.bulk)},
        "exchanges": {
            each.name: {
                name: run_exchange(clients[name], each, sizes.small if each.name in SMALL else sizes.blobs)
                for name in order
            }
            for each in exchanges
        },
    }


def run_exchange(client: HttpClient, exchange: Exchange, runs: int) -> list[float]:
    """Return the CPU time of this process for one exchange, and the median latency, us."""
    headers = {"User-Agent": "piecework", "Accept-Encoding": "identity", "Accept": MSGPACK}
    if exchange.body:
        headers["Content-Type"] = exchange.kind
    times, cpu_s = [], time.process_time()
    for _ in range(runs):
        began = time.perf_counter()
        client.ask(exchange.method, exchange.path, exchange.body, headers)
        times.append(time.perf_counter() - began)
    return [(time.process_time() - cpu_s) / runs * 1e6, statistics.median(times) * 1e6]


def more_than_ours(results: dict[str, Any], exchange: str, name: str, figure: int) -> float:
    """Return how much more a client takes than ours: the median of the differences within rounds, us."""
    rounds = [each["exchanges"][exchange] for each in results["rounds"]]
    differences: list[float] = [each[name][figure] - each["ours"][figure] for each in rounds]
    return statistics.median(differences)


def exchange_table(results: dict[str, Any]) -> Table:
    """One row for each exchange and client; the figures are medians over all rounds."""
    rows = []
    for exchange in results["rounds"][0]["exchanges"]:
        for name in CLIENTS:
            mine = [each["exchanges"][exchange][name] for each in results["rounds"]]
            both = [statistics.median(column) for column in zip(*mine, strict=True)]
            more = [more_than_ours(results, exchange, name, figure) for figure in (0, 1)]
            added = ["" if name == "ours" else f"{each:+,.0f}" for each in more]
            rows.append([exchange, name, number(both[0]), added[0], number(both[1]), added[1]])
    columns = ["exchange", "client", "CPU µs", "CPU beside ours", "latency µs", "latency beside ours"]
    return Table("HTTP exchanges over a kept connection", columns, rows, frozenset({"client"}))


def find_job(results: dict[str, Any], way: str) -> dict[str, float]:
    """Return what a no-op job took: the medians over all rounds."""
    rounds = [each["jobs"][way] for each in results["rounds"]]
    return {figure: statistics.median(each[figure] for each in rounds) for figure in rounds[0]}


def find_shares(results: dict[str, Any], name: str) -> tuple[float, float, float]:
    """Return what a library would add to a job alone, of its latency and CPU, and to one of many, of its CPU.

    Each exchange of a job counts as the mean of the small ones, as if none went on beside another.
    """
    cpu, latency = (
        statistics.mean(more_than_ours(results, each, name, figure) for each in SMALL) for figure in (0, 1)
    )
    alone, bulk = find_job(results, "alone"), find_job(results, "bulk")
    return (
        alone["exchanges"] * latency / alone["p50_us"],
        alone["exchanges"] * cpu / alone["cpu_us"],
        bulk["exchanges"] * cpu / bulk["cpu_us"],
    )


def share_table(results: dict[str, Any]) -> Table:
    """What a library would add to a no-op job, and the job's own figures in the first rows."""
    alone, bulk = find_job(results, "alone"), find_job(results, "bulk")
    rows = [
        ["a job", number(alone["p50_us"]), number(alone["cpu_us"]), number(bulk["cpu_us"])],
        ["exchanges of it", *map(number, (alone["exchanges"], alone["exchanges"], bulk["exchanges"]))],
    ]
    rows += [
        [f"{name} would add", *(f"{each:+.1%}" for each in find_shares(results, name))]
        for name in CLIENTS
        if name != "ours"
    ]
    return Table("A no-op job", ["", "alone: latency µs", "alone: CPU µs", "of many: CPU µs"], rows)


def judge(results: dict[str, Any]) -> str:
    """Say which way the rule points."""
    lines = []
    for name in (each for each in CLIENTS if each != "ours"):
        latency, _, bulk = find_shares(results, name)
        is_cheap = max(latency, bulk) < SHARE_MAX
        lines.append(
            f"{name}: {'take the library' if is_cheap else 'keep ours'} (latency {latency:+.1%}, CPU {bulk:+.1%})"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
